// The native streams that are open, to end them together, and the earliest deadline of their messages.
#pragma once

#include <algorithm>
#include <mutex>
#include <unordered_set>

#include "core/clock.h"

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


  // A message's time is over then. On the server's thread, as `sweep`.
  void expect(Time deadline) { earliest_ = std::min(earliest_, deadline); }
  // Where one is due: tells each stream, which answers when its next one is.
  template <typename Tell>
  void sweep(Time now, const Tell& tell) {
    if (now < earliest_) return;
    earliest_ = kNever;
    for_each([&](InferStream& stream) { expect(tell(stream)); });
  }

 private:
  std::mutex mutex_;
  std::unordered_set<InferStream*> streams_;
  Time earliest_ = kNever;
};

}  // namespace seqserve::grpc_edge
