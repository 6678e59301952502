// Whether a version's batches have proved so quick that handing them to another thread would take longer.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include "core/clock.h"

namespace seqserve {

// What was measured of batches, by their size up to the next power of two. For one thread at a time.
class Quickness {
 public:
  // Nobody who waits for the thread notices that.
  static constexpr Time kQuick = std::chrono::microseconds(500);
  // No busy machine excuses that.
  static constexpr Time kTooSlow = std::chrono::milliseconds(5);

  void measure(std::size_t rows, Time computing) {
    Size& size = sizes_[class_of(rows)];
    if (computing >= kTooSlow) size.last.fill(kNever);
    size.last[size.next++ % size.last.size()] = computing;
  }

  // The median of the last five of that size: of one or two that took longer the machine may have been the cause.
  bool is_proved(std::size_t rows) const {
    std::array<Time, kKept> last = sizes_[class_of(rows)].last;
    std::sort(last.begin(), last.end());
    return last.back() != kNever && last[kKept / 2] < kQuick;
  }

 private:
  static constexpr std::size_t kKept = 5;
  struct Size {
    std::array<Time, kKept> last{kNever, kNever, kNever, kNever, kNever};
    std::size_t next = 0;
  };
  static constexpr std::size_t kSizes = 24;

  // 1, 2, 3 to 4, 5 to 8, and so on as 0, 1, 2, 3, and so on.
  static std::size_t class_of(std::size_t rows) {
    std::size_t index = 0;
    while (index + 1 < kSizes && (std::size_t{1} << index) < rows) ++index;
    return index;
  }

  std::array<Size, kSizes> sizes_;
};

}  // namespace seqserve
