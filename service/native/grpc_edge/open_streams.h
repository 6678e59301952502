// The native streams that are open, to end them together.
#pragma once

#include <mutex>
#include <unordered_set>

namespace seqserve::grpc_edge {

class InferStream;

class OpenStreams {
 public:
  void add(InferStream& stream) {
    const std::lock_guard lock(mutex_);
    streams_.insert(&stream);
  }
  // Once it returns, nobody here speaks to the stream.
  void remove(InferStream& stream) {
    const std::lock_guard lock(mutex_);
    streams_.erase(&stream);
  }
  template <typename Tell>
  void for_each(const Tell& tell) {
    const std::lock_guard lock(mutex_);
    for (InferStream* const stream : streams_) tell(*stream);
  }

 private:
  std::mutex mutex_;
  std::unordered_set<InferStream*> streams_;
};

}  // namespace seqserve::grpc_edge
