#include "retort/evaluate/protocol.hpp"

#include <ATen/ATen.h>

#include "retort/run/index.hpp"

namespace retort {

std::vector<std::int64_t> confusion_of(at::Tensor const& predicted, at::Tensor const& truth, std::int64_t classes) {
  auto const counts = at::bincount(truth * classes + predicted, {}, classes * classes);
  return {counts.const_data_ptr<std::int64_t>(), counts.const_data_ptr<std::int64_t>() + counts.numel()};
}

HeadScores train_and_score(Communicator const& ranks, LabelledFeatures const& train, LabelledFeatures const& test,
                           LabelledFeatures const& held_out, std::int64_t classes, std::int64_t heads,
                           std::uint64_t first_head, HeadOptions const& options, std::uint64_t seed) {
  auto const entry = index(classes) + 3;  // accuracy, macro F1, held-out accuracy, recall a class
  std::vector<double> own;
  std::vector<std::int64_t> confusion(index(classes * classes));
  ranks.together([&] {
    for (std::int64_t head = ranks.rank(); head < heads; head += ranks.size()) {
      auto const trained = train_head(train.features, train.labels, classes, options, seed,
                                      first_head + static_cast<std::uint64_t>(head));
      auto const predicted = predict(trained, test.features, options);
      if (head == 0) confusion = confusion_of(predicted, test.labels, classes);
      auto const scores = score(predicted, test.labels, classes);
      auto const chosen = score(predict(trained, held_out.features, options), held_out.labels, classes);
      own.insert(own.end(), {scores.accuracy, scores.macro_f1, chosen.accuracy});
      own.insert(own.end(), scores.recall.begin(), scores.recall.end());
    }
  });
  auto const all = ranks.gather(std::span<double const>(own));
  ranks.broadcast(std::span(confusion));  // the first head is rank 0's
  HeadScores scores;
  scores.confusion = std::move(confusion);
  scores.test.resize(index(heads));
  scores.held_out.resize(index(heads));
  auto next = all.begin();
  for (std::int64_t rank = 0; rank < ranks.size(); ++rank) {
    for (std::int64_t head = rank; head < heads; head += ranks.size(), next += static_cast<std::ptrdiff_t>(entry)) {
      auto& one = scores.test[index(head)];
      one.accuracy = next[0];
      one.macro_f1 = next[1];
      scores.held_out[index(head)] = next[2];
      one.recall.assign(next + 3, next + static_cast<std::ptrdiff_t>(entry));
    }
  }
  if (!held_out.labels.size(0)) scores.held_out.clear();
  return scores;
}

}  // namespace retort
