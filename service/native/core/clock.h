// Monotonic time as something that is passed in, so that tests decide what time it is.
#pragma once

#include <chrono>

namespace seqserve {

// Nanoseconds on a clock's own scale, which deadlines share.
using Time = std::chrono::nanoseconds;

inline constexpr Time kNever = Time::max();

// A time so much later, which never passes kNever.
inline Time later(Time time, Time by) { return by >= kNever - time ? kNever : time + by; }

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Time now() const = 0;
};

class SteadyClock final : public Clock {
 public:
  Time now() const override { return std::chrono::steady_clock::now().time_since_epoch(); }
};

}  // namespace seqserve
