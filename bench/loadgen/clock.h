// The clock of all latencies.
#pragma once

#include <chrono>
#include <ctime>

using Clock = std::chrono::steady_clock;

inline Clock::duration Seconds(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

inline double InSeconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

// Of all threads of this program.
inline double CpuSeconds() {
  timespec used;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
}
