// What signals and the clock of the job ask of a run; acted on at the next step boundary, never in a handler.
#pragma once

#include <optional>

namespace retort {

// In rising urgency, so that ranks agree by a maximum.
enum class Wish : int {
  go_on = 0,
  checkpoint = 1,  // USR1, or the interval is over: checkpoint and go on
  stop = 2,        // USR2, TERM, INT, a file STOP, the job's time is nearly over: checkpoint and leave with 75
  lost = 3,        // another job has taken the run folder: leave with 75, write nothing
};

// Process-wide.
class StopSignals {
 public:
  // From here USR1 is remembered, and USR2, TERM and INT leave at once with 75: what is whole is kept, and the same
  // command does the stage again.
  static void listen();
  // From here the first USR2, TERM or INT only asks; a second one leaves at once with 1. For programs that checkpoint.
  static void wait_for_boundaries();
  // What signals have asked for since the last call; a wish to stop stays.
  static Wish seen();
  static bool stop_is_asked();
};

// Seconds until the job's time limit, from RETORT_END_TIME or SLURM_JOB_END_TIME (seconds since 1970); none outside a
// job.
std::optional<double> seconds_to_limit();

}  // namespace retort
