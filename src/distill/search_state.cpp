#include "retort/distill/search_state.hpp"

#include <ATen/ATen.h>

namespace retort {
namespace {

std::string codes_name(std::size_t candidate) { return fmt::format("candidate_{}", candidate); }

}  // namespace

CheckpointState checkpoint_of(SearchState const& state, SyntheticSet const& set, Matching const& matching,
                              std::int64_t step) {
  nlohmann::json candidates = nlohmann::json::array(), choices = nlohmann::json::array();
  CheckpointState saved{step, set.state(), {}};
  for (std::size_t i = 0; i < state.candidates.size(); ++i) {
    Candidate const& candidate = state.candidates[i];
    candidates.push_back({{"accuracy", candidate.accuracy},
                          {"choice", candidate.choice},
                          {"loss", candidate.loss},
                          {"rate", candidate.rate},
                          {"iterations", candidate.iterations}});
    saved.tensors[codes_name(i)] = set.whole(candidate.codes);
  }
  saved.tensors.merge(matching.state());
  for (Choice const& choice : state.choices)
    choices.push_back({{"made", choice.made}, {"rate", choice.rate}, {"iterations", choice.iterations}});
  saved.facts = {{"set", state.set},           {"rate", state.rate},  {"iteration", state.iteration},
                 {"candidates", candidates},   {"choices", choices},  {"best_accuracy", state.best_accuracy},
                 {"best_set", state.best_set}, {"table", state.table}};
  return saved;
}

SearchState search_state_of(CheckpointState const& saved) {
  auto const& facts = saved.facts;
  SearchState state{facts.at("set"),           facts.at("rate"),     facts.at("iteration"), {}, {},
                    facts.at("best_accuracy"), facts.at("best_set"), facts.at("table")};
  for (auto const& candidate : facts.at("candidates"))
    state.candidates.push_back({candidate.at("accuracy"),
                                candidate.at("choice"),
                                candidate.at("loss"),
                                candidate.at("rate"),
                                candidate.at("iterations"),
                                {}});
  for (auto const& choice : facts.at("choices"))
    state.choices.push_back({choice.at("made"), choice.at("rate"), choice.at("iterations")});
  return state;
}

void restore_set(CheckpointState const& saved, SearchState& state, SyntheticSet& set, Matching& matching) {
  set.restore(saved.tensors);
  matching.restore(saved.tensors);
  for (std::size_t i = 0; i < state.candidates.size(); ++i)
    state.candidates[i].codes = set.own_part(saved.tensors.at(codes_name(i)));
}

}  // namespace retort
