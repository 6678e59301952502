#include "open_loop.h"

#include <sys/prctl.h>

#include <atomic>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "call.h"

namespace {

// Calls that are not in use; those in use can be cancelled.
class Pool {
 public:
  Call* Take() {
    const std::lock_guard<std::mutex> guard(mutex_);
    ++in_use_;
    if (free_.empty()) return &calls_.emplace_back();
    auto* call = free_.back();
    free_.pop_back();
    return call;
  }

  void GiveBack(Call* call) {
    const std::lock_guard<std::mutex> guard(mutex_);
    --in_use_;
    free_.push_back(call);
  }

  size_t in_use() const { return in_use_; }

  // Only while nobody takes. A call that has ended takes no notice.
  void CancelAll() {
    for (auto& call : calls_) call.Cancel();
  }

 private:
  std::mutex mutex_;
  std::deque<Call> calls_;
  std::vector<Call*> free_;
  std::atomic<size_t> in_use_{0};
};

class OpenLoop {
 public:
  OpenLoop(const Stubs& stubs, double rate, Load* load, Tally* tally)
      : stubs_(stubs), interval_seconds_(1 / rate), load_(load), tally_(tally) {}

  void Run() {
    std::thread sender([this] { Send(); });
    ReceiveUntil(std::chrono::system_clock::now() + std::chrono::duration_cast<WallClock::duration>(
                                                        tally_->end() - Clock::now()));
    sender.join();
    tally_->SetUnanswered(pool_.in_use());
    pool_.CancelAll();
    while (pool_.in_use() > 0 && ReceiveOne(WallClock::time_point::max())) {
    }
  }

 private:
  using WallClock = std::chrono::system_clock;

  void Send() {
    prctl(PR_SET_TIMERSLACK, 1);  // else each sleep lasts 50 µs longer
    const auto start = Clock::now();
    for (size_t i = 0;; ++i) {
      const auto due = start + Seconds(static_cast<double>(i) * interval_seconds_);
      if (due >= tally_->end() || tally_->Over()) return;
      std::this_thread::sleep_until(due);
      tally_->AddLateness(due);
      pool_.Take()->Start(stubs_[i % stubs_.size()].get(), load_, due);
    }
  }

  void ReceiveUntil(WallClock::time_point end) {
    while (ReceiveOne(end) && !tally_->Over()) {
    }
  }

  // False where none came in time.
  bool ReceiveOne(WallClock::time_point deadline) {
    void* tag;
    bool ok;
    if (load_->queue.AsyncNext(&tag, &ok, deadline) != grpc::CompletionQueue::GOT_EVENT) return false;
    auto* call = static_cast<Call*>(tag);
    call->Record(tally_);
    pool_.GiveBack(call);
    return true;
  }

  const Stubs& stubs_;
  const double interval_seconds_;
  Load* const load_;
  Tally* const tally_;
  Pool pool_;
};

}  // namespace

void RunOpenLoop(const Stubs& stubs, double rate, Load* load, Tally* tally) {
  OpenLoop(stubs, rate, load, tally).Run();
}
