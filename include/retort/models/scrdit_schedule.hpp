// scRDiT's diffusion (methods 2.2): 1000 times, which it counts from 0.
#pragma once

#include "retort/models/noise_schedule.hpp"

namespace retort {

inline NoiseSchedule scrdit_schedule() { return NoiseSchedule(1000, 1e-4, 0.02); }

// scRDiT's index i of T = 1000 is NoiseSchedule's t = i + 1. Its networks are given the index, in training too, where i
// is 1 .. T - 1: index 0 is never trained on nor asked for, and is where sampling ends (alpha_hat 0.9999, so the last
// state is as good as clean).
inline double signal_left(NoiseSchedule const& schedule, std::int64_t index) { return schedule.alpha_bar(index + 1); }

}  // namespace retort
