// The compute slots: threads that run batches, shared by all models.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "core/version.h"

namespace seqserve {

// First due, first served: a version asks once a batch, so between two batches of one each other one that
// is due runs. Versions may outlive the runners; after that nobody runs their batches.
class Runners {
 public:
  // slots: threads of its own, beside those that others bring to `work`.
  Runners(std::size_t slots, const Clock& clock);
  Runners(const Runners&) = delete;
  Runners& operator=(const Runners&) = delete;
  // Stops, and joins its own threads. Drain the versions first.
  ~Runners();

  // Runs batches on the calling thread until `stop`; that one may outlive the runners, the clock may not.
  void work();
  // Each thread ends what it computes and takes no more.
  void stop();

  // A guest is a thread with other work: batches that become due by what it does, and are of quick versions,
  // are its own to run. One at a time; `welcome` and `dismiss` on that thread.
  void welcome();
  // Sees to one of them; false where there was none.
  bool run_own();
  // What it has not run goes to the others.
  void dismiss();

  // Before anybody reserves.
  void run(Version& version);

 private:
  // Outlives the runners for as long as a version may speak to it.
  struct Board {
    std::mutex mutex;
    std::condition_variable news;
    std::map<std::pair<Time, std::size_t>, VersionPtr> due;
    std::size_t asked = 0;
    bool is_stopped = false;
    std::atomic<std::thread::id> guest{};
    // The guest's; nobody else looks at it.
    std::deque<VersionPtr> own;
  };

  static void ask(Board& board, const VersionPtr& due, Time when);
  static VersionPtr next(Board& board, const Clock& clock);

  const Clock& clock_;
  const std::shared_ptr<Board> board_;
  std::vector<std::thread> threads_;
};

}  // namespace seqserve
