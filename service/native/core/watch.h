// The thread that looks after deadlines and batches that take too long, for all versions.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/version.h"

namespace seqserve {

// An expired caller is answered at most this late, which bounds the cost of thousands of deadlines.
inline constexpr Time kSweepInterval = std::chrono::milliseconds(10);

class Watch {
 public:
  Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch();

  // Until the version is gone.
  void over(const VersionPtr& version);

 private:
  void look();
  std::vector<VersionPtr> watched();

  std::mutex mutex_;
  std::condition_variable news_;
  std::vector<std::weak_ptr<Version>> versions_;
  bool is_stopped_ = false;
  std::thread thread_;
};

}  // namespace seqserve
