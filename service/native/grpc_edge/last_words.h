// What those hear who wait for a version that is aborted; the queue itself knows no words.
#pragma once

#include <mutex>
#include <optional>
#include <utility>

#include "grpc_edge/failure.h"

namespace seqserve::grpc_edge {

// For any thread.
class LastWords {
 public:
  // Before the queue is aborted.
  void say(Failure failure) {
    const std::lock_guard lock(mutex_);
    failure_ = std::move(failure);
  }
  // None where nobody has said why.
  std::optional<Failure> read() const {
    const std::lock_guard lock(mutex_);
    return failure_;
  }

 private:
  mutable std::mutex mutex_;
  std::optional<Failure> failure_;
};

}  // namespace seqserve::grpc_edge
