// The threads that run batches: as many as there are compute slots, shared by all models.
#pragma once

#include <condition_variable>
#include <cstddef>
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
  Runners(std::size_t slots, const Clock& clock);
  Runners(const Runners&) = delete;
  Runners& operator=(const Runners&) = delete;
  // Ends what is being computed, and joins. Drain the versions first.
  ~Runners();

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
  };

  static VersionPtr next(Board& board, const Clock& clock);

  const std::shared_ptr<Board> board_;
  std::vector<std::thread> threads_;
};

}  // namespace seqserve
