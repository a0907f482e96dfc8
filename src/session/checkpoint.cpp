#include "retort/session/checkpoint.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <span>

#include "retort/files/safetensors.hpp"
#include "retort/ranks/share.hpp"
#include "retort/run/build_info.hpp"
#include "retort/run/error.hpp"
#include "retort/run/hash.hpp"
#include "retort/run/index.hpp"

namespace fs = std::filesystem;

namespace retort {
namespace {

constexpr int format_version = 2;

// The manifest covers itself: its text is exactly what its parsed content is written as, its own checksum included.
std::string sealed(nlohmann::json body) {
  body.erase("checksum");
  body["checksum"] = hash_text(body.dump());
  return body.dump() + "\n";
}

nlohmann::json read_manifest(fs::path const& folder) {
  std::ifstream stream(folder / "MANIFEST.json", std::ios::binary);
  std::string const text(std::istreambuf_iterator<char>(stream), {});
  if (!stream) fail(ExitCode::bad_input, "MANIFEST.json cannot be read");
  auto body = nlohmann::json::parse(text, nullptr, false);
  if (!body.is_object() || sealed(body) != text)
    fail(ExitCode::bad_input, "MANIFEST.json is damaged (its checksum does not hold)");
  if (body.value("format", 0) != format_version)
    fail(ExitCode::bad_input, "its format is {} (this program reads {})", body.value("format", 0), format_version);
  return body;
}

std::string stripe_name(std::int64_t stripe) { return fmt::format("stripe-{}.safetensors", stripe); }

// What stripe `stripe` of `stripes` holds: a range of every tensor's elements.
Safetensors stripe_of(CheckpointState const& state, std::int64_t stripe, std::int64_t stripes) {
  Safetensors content;
  for (auto const& [name, tensor] : state.tensors) {
    RowRange const range = share_of(tensor.numel(), static_cast<int>(stripe), static_cast<int>(stripes));
    content.tensors[name] = tensor.detach().cpu().contiguous().view({-1}).narrow(0, range.begin, range.size()).clone();
  }
  return content;
}

// Steps of the checkpoints in a folder, newest first.
std::vector<std::int64_t> steps_in(fs::path const& folder) {
  std::vector<std::int64_t> steps;
  std::error_code missing;
  for (auto const& entry : fs::directory_iterator(folder, missing)) {
    std::string const name = entry.path().filename().string();
    std::int64_t step = 0;
    if (!name.starts_with("step-")) continue;
    auto const [end, error] = std::from_chars(name.data() + 5, name.data() + name.size(), step);
    if (error == std::errc{} && end == name.data() + name.size()) steps.push_back(step);
  }
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

fs::path folder_of(fs::path const& folder, std::int64_t step) { return folder / fmt::format("step-{}", step); }

at::Tensor empty_like_manifest(nlohmann::json const& described) {
  return at::empty(described.at("shape").get<std::vector<std::int64_t>>(),
                   described.at("type") == "int64" ? at::kLong : at::kFloat);
}

// Copies every tensor's range of a stripe into the whole tensors; the reading rank gives it to all.
void spread_stripe(Communicator const& ranks, CheckpointState& state, Safetensors const& content, std::int64_t stripe,
                   std::int64_t stripes, int reader) {
  for (auto& [name, tensor] : state.tensors) {
    RowRange const range = share_of(tensor.numel(), static_cast<int>(stripe), static_cast<int>(stripes));
    at::Tensor piece = tensor.view({-1}).narrow(0, range.begin, range.size());
    if (ranks.rank() == reader) piece.copy_(content.tensors.at(name));
    auto const count = index(range.size());
    if (tensor.scalar_type() == at::kLong)
      ranks.broadcast(std::span(piece.data_ptr<std::int64_t>(), count), reader);
    else
      ranks.broadcast(std::span(piece.data_ptr<float>(), count), reader);
  }
}

}  // namespace

Checkpoints::Checkpoints(Session& session, std::int64_t stripe_bytes)
    : session_(session), folder_(session.folder.own() / "checkpoints"), stripe_bytes_(stripe_bytes) {
  StopSignals::wait_for_boundaries();
}

void Checkpoints::save(CheckpointState const& state) const {
  auto const& ranks = session_.ranks;
  Stopwatch const watch;
  fs::path const final = folder_of(folder_, state.step), pending = final.string() + ".tmp";
  std::int64_t bytes = 0;
  nlohmann::json tensors = nlohmann::json::object();
  for (auto const& [name, tensor] : state.tensors) {
    bytes += tensor.numel() * tensor.element_size();
    tensors[name] = {{"shape", tensor.sizes().vec()},
                     {"type", tensor.scalar_type() == at::kLong ? "int64" : "float32"}};
  }
  std::int64_t const stripes = std::clamp<std::int64_t>((bytes + stripe_bytes_ - 1) / stripe_bytes_, 1, ranks.size());
  try {
    ranks.together([&] {
      if (!ranks.is_root()) return;
      session_.folder.require_lock();
      std::error_code error;
      fs::remove_all(pending, error);
      fs::create_directories(pending, error);
      if (error)
        fail(ExitCode::cannot_write, "cannot make folder '{}' ({}). Free space or choose another run.folder",
             pending.string(), error.message());
    });
    std::string own_sum;
    ranks.together([&] {
      if (ranks.rank() >= stripes) return;
      fs::path const file = pending / stripe_name(ranks.rank());
      write_safetensors(file, stripe_of(state, ranks.rank(), stripes));
      flush_file(file);
      own_sum = hash_file(file);
      if (own_sum.empty()) fail(ExitCode::cannot_write, "'{}' cannot be read back. Look at the disk", file.string());
    });
    auto const sums = ranks.gather(own_sum);
    ranks.together([&] {
      if (!ranks.is_root()) return;
      nlohmann::json files = nlohmann::json::object();
      for (std::int64_t s = 0; s < stripes; ++s) files[stripe_name(s)] = sums[index(s)];
      nlohmann::json const manifest{{"format", format_version},
                                    {"program", session_.table.program()},
                                    {"key", session_.key()},
                                    {"step", state.step},
                                    {"stripes", stripes},
                                    {"files", files},
                                    {"tensors", tensors},
                                    {"facts", state.facts},
                                    {"steps_bytes", session_.folder.steps_bytes()},
                                    {"ranks", ranks.size()},
                                    {"threads", session_.run.threads},
                                    {"cpu", cpu_model()},
                                    {"build", build_info()}};
      {
        std::ofstream stream(pending / "MANIFEST.json");
        stream << sealed(manifest) << std::flush;
        if (!stream)
          fail(ExitCode::cannot_write, "cannot write '{}' ({}). Free space or choose another run.folder",
               (pending / "MANIFEST.json").string(), std::strerror(errno));
      }
      session_.folder.require_lock();
      publish(pending, final);
      write_text(folder_ / "latest", final.filename().string() + "\n");
      std::error_code ignored;
      std::int64_t kept = 0;
      for (std::int64_t const step : steps_in(folder_)) {  // a higher step is of other settings, or was refused
        bool const keep = step <= state.step && kept++ < std::max<std::int64_t>(1, session_.run.keep_checkpoints);
        if (!keep) fs::remove_all(folder_of(folder_, step), ignored);
      }
    });
  } catch (Failure const&) {
    std::error_code ignored;
    if (ranks.is_root()) fs::remove_all(pending, ignored);  // gives the space back
    throw;
  }
  session_.folder.note("checkpoint",
                       {{"step", state.step}, {"bytes", bytes}, {"stripes", stripes}, {"seconds", watch.seconds()}});
}

std::optional<CheckpointState> Checkpoints::newest() const {
  auto const& ranks = session_.ranks;
  std::vector<std::int64_t> steps;
  if (ranks.is_root()) steps = steps_in(folder_);
  std::int64_t count = std::ssize(steps);
  ranks.broadcast(std::span(&count, 1));
  steps.resize(index(count));
  ranks.broadcast(std::span<std::int64_t>(steps));

  for (std::int64_t const step : steps) {
    fs::path const folder = folder_of(folder_, step);
    std::string problem, text;
    try {
      if (ranks.is_root()) {
        auto const manifest = read_manifest(folder);
        if (manifest.at("key") != session_.key()) fail(ExitCode::bad_input, "it is of other settings or inputs");
        if (manifest.at("step") != step) fail(ExitCode::bad_input, "it holds step {}", manifest.at("step").dump());
        text = manifest.dump();
      }
    } catch (std::exception const& error) {
      problem = error.what();
    }
    ranks.broadcast(text);
    auto const manifest = text.empty() ? nlohmann::json::object() : nlohmann::json::parse(text);
    std::int64_t const stripes = manifest.value("stripes", std::int64_t{0});

    // Each stripe is read by one rank, checked, and given to all.
    std::map<std::int64_t, Safetensors> own;
    try {
      for (std::int64_t s = ranks.rank(); s < stripes; s += ranks.size()) {
        if (hash_file(folder / stripe_name(s)) != manifest.at("files").at(stripe_name(s)).get<std::string>())
          fail(ExitCode::bad_input, "{} is damaged (its checksum does not hold)", stripe_name(s));
        own[s] = read_safetensors(folder / stripe_name(s));
      }
    } catch (std::exception const& error) {
      problem = error.what();
    }
    for (auto const& one : ranks.gather(problem)) {
      if (problem.empty()) problem = one;
    }
    if (!problem.empty()) {
      session_.say(fmt::format("checkpoint '{}' is refused: {}", folder.string(), problem));
      session_.folder.note("checkpoint_refused", {{"step", step}, {"why", problem}});
      continue;
    }

    CheckpointState state{step, {}, manifest.at("facts")};
    if (stripe_bytes_ == of_root) {
      for (auto const& [name, tensor] : own[0].tensors)
        state.tensors[name] = tensor.view(manifest.at("tensors").at(name).at("shape").get<std::vector<std::int64_t>>());
    } else {
      for (auto const& [name, described] : manifest.at("tensors").items())
        state.tensors[name] = empty_like_manifest(described);
      for (std::int64_t s = 0; s < stripes; ++s)
        spread_stripe(ranks, state, own[s], s, stripes, static_cast<int>(s % ranks.size()));
    }
    ranks.together([&] { session_.folder.rewind_steps(manifest.value("steps_bytes", std::uint64_t{0})); });
    session_.say(fmt::format("goes on from step {} ('{}')", step, folder.string()));
    if (manifest.value("threads", session_.run.threads) != session_.run.threads ||
        manifest.value("cpu", "") != cpu_model())
      session_.say(fmt::format("the checkpoint was made with {} threads per rank on {}: the last bits may differ",
                               manifest.value("threads", session_.run.threads), manifest.value("cpu", "")));
    session_.folder.note("resumed",
                         {{"step", step}, {"ranks_then", manifest.value("ranks", 0)}, {"ranks", ranks.size()}});
    return state;
  }
  ranks.together([&] { session_.folder.rewind_steps(0); });
  return std::nullopt;
}

std::optional<fs::path> Checkpoints::latest() const {
  std::ifstream stream(folder_ / "latest");
  std::string name;
  if (!std::getline(stream, name)) return std::nullopt;
  try {
    if (read_manifest(folder_ / name).at("key") == session_.key()) return folder_ / name;
  } catch (std::exception const&) {
    // What cannot be read is none that a run could go on from.
  }
  return std::nullopt;
}

void restore(std::map<std::string, at::Tensor> const& saved, std::map<std::string, at::Tensor> const& into) {
  at::NoGradGuard no_grad;
  for (auto const& [name, tensor] : into) {
    auto const found = saved.find(name);
    if (saved.size() != into.size() || found == saved.end() || found->second.sizes() != tensor.sizes())
      fail(ExitCode::failed,
           "the checkpoint does not hold '{}' as this run needs it (another version made it?). Remove the folder "
           "'checkpoints' to begin anew",
           name);
    tensor.copy_(found->second);
  }
}

}  // namespace retort
