// Calls whose time is shorter than gRPC knows, by a request's own timeout or by the gateway's: a list that is
// looked through when the earliest is due. On the server's thread only.
#pragma once

#include <algorithm>

#include "core/clock.h"

namespace seqserve::grpc_edge {

// The core answers who waits in a queue, so that one who is computed is all that is left.
inline constexpr Time kDeadlineSlack = std::chrono::milliseconds(20);

class Deadlines {
 public:
  class Timed {
   public:
    Timed() = default;
    Timed(const Timed&) = delete;
    Timed& operator=(const Timed&) = delete;
    virtual void expire() = 0;

   protected:
    ~Timed() { leave(); }

    // Does nothing for one who is in no list.
    void leave() {
      if (before_ == nullptr) return;
      before_->after_ = after_;
      after_->before_ = before_;
      before_ = after_ = nullptr;
    }

   private:
    friend class Deadlines;

    Timed* before_ = nullptr;
    Timed* after_ = nullptr;
    Time deadline_ = kNever;
  };

  Deadlines() { ends_.before_ = ends_.after_ = &ends_; }

  void add(Timed& timed, Time deadline) {
    timed.deadline_ = later(deadline, kDeadlineSlack);
    timed.before_ = ends_.before_;
    timed.after_ = &ends_;
    ends_.before_->after_ = &timed;
    ends_.before_ = &timed;
    earliest_ = std::min(earliest_, timed.deadline_);
  }

  void sweep(Time now) {
    if (now < earliest_) return;
    earliest_ = kNever;
    for (Timed* each = ends_.after_; each != &ends_;) {
      Timed& timed = *each;
      each = each->after_;
      if (timed.deadline_ > now) {
        earliest_ = std::min(earliest_, timed.deadline_);
        continue;
      }
      timed.leave();
      timed.expire();
    }
  }

 private:
  struct Ends final : Timed {
    void expire() override {}
  };

  Ends ends_;
  Time earliest_ = kNever;
};

}  // namespace seqserve::grpc_edge
