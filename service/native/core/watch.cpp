#include "core/watch.h"

#include <algorithm>

namespace seqserve {

Watch::Watch() : thread_([this] { look(); }) {}

Watch::~Watch() {
  {
    const std::lock_guard lock(mutex_);
    is_stopped_ = true;
  }
  news_.notify_all();
  thread_.join();
}

void Watch::over(const VersionPtr& version) {
  {
    const std::lock_guard lock(mutex_);
    versions_.push_back(version);
  }
  news_.notify_all();
}

void Watch::look() {
  std::unique_lock lock(mutex_);
  while (!is_stopped_) {
    if (versions_.empty()) {
      news_.wait(lock);
      continue;
    }
    news_.wait_for(lock, kSweepInterval);
    // Without the lock, since a sweep answers callers, and so may the end of a version.
    std::vector<VersionPtr> versions = watched();
    lock.unlock();
    for (const VersionPtr& version : versions) version->sweep();
    versions.clear();
    lock.lock();
  }
}

std::vector<VersionPtr> Watch::watched() {
  std::vector<VersionPtr> alive;
  for (const auto& version : versions_) {
    if (VersionPtr held = version.lock()) alive.push_back(std::move(held));
  }
  const auto gone = std::remove_if(versions_.begin(), versions_.end(),
                                   [](const std::weak_ptr<Version>& version) { return version.expired(); });
  versions_.erase(gone, versions_.end());
  return alive;
}

}  // namespace seqserve
