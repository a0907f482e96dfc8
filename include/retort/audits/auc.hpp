// Area under the receiver operating characteristic, exact, with its interval.
#pragma once

#include <span>

namespace retort {

struct Auc {
  double value = 0;          // chance that a positive scores above a negative, ties half
  double low = 0, high = 1;  // 95 % interval, cut at 0 and 1
};

// Variance by DeLong, DeLong and Clarke-Pearson (Biometrics 1988). Both spans have at least two scores; all NaN where a
// score is NaN. With no overlap the variance is 0 and so is the interval's width: ask for a dozen of each. Not
// collective.
Auc auc(std::span<double const> positives, std::span<double const> negatives);

}  // namespace retort
