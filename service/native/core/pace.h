// Measured time a row, and how long a queue is expected to take.
#pragma once

#include <cstddef>

#include "core/clock.h"

namespace seqserve {

// Time and rows are averaged apart, so that one large batch outweighs many small ones: after a lull of
// single rows the first full batch already shows what the engine can do.
class Pace {
 public:
  void measure(Time time, std::size_t rows) {
    const double weight = rows_ > 0 ? kWeight : 1.0;
    nanoseconds_ += weight * (static_cast<double>(time.count()) - nanoseconds_);
    rows_ += weight * (static_cast<double>(rows) - rows_);
  }

  // 0 without a measurement.
  Time estimate(std::size_t rows) const {
    if (rows_ == 0) return Time{0};
    const double nanoseconds = kMargin * static_cast<double>(rows) * nanoseconds_ / rows_;
    return nanoseconds < kMost ? Time{static_cast<Time::rep>(nanoseconds)} : Time{static_cast<Time::rep>(kMost)};
  }

 private:
  static constexpr double kMargin = 1.2;
  static constexpr double kWeight = 0.2;
  static constexpr double kMost = 1e18;  // what a clock's time can be added to without overflow

  double nanoseconds_ = 0;
  double rows_ = 0;
};

}  // namespace seqserve
