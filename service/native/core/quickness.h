// Whether a version's batches have proved so quick that handing them to another thread would take longer.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>

#include "core/clock.h"

namespace seqserve {

class Quickness {
 public:
  // Nobody who waits for the thread notices that.
  static constexpr Time kQuick = std::chrono::microseconds(500);
  // No busy machine excuses that.
  static constexpr Time kTooSlow = std::chrono::milliseconds(5);

  // By one thread at a time.
  void measure(Time computing) {
    if (computing >= kTooSlow) last_.fill(kNever);
    last_[next_++ % last_.size()] = computing;
    // The best of them: what the others took longer is the machine's doing. A new one has to show itself often.
    const bool is_known = std::count(last_.begin(), last_.end(), kNever) == 0;
    is_proved_.store(is_known && *std::min_element(last_.begin(), last_.end()) < kQuick, std::memory_order_relaxed);
  }

  bool is_proved() const { return is_proved_.load(std::memory_order_relaxed); }

 private:
  std::array<Time, 5> last_{kNever, kNever, kNever, kNever, kNever};
  std::size_t next_ = 0;
  std::atomic<bool> is_proved_{false};
};

}  // namespace seqserve
