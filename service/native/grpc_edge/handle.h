// What somebody elsewhere holds of a call. It may be held for as long as they like: once the call is over,
// its methods do nothing.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "grpc_edge/elsewhere.h"

namespace seqserve::grpc_edge {

// The call itself, as long as it lives. All methods are called with the handle's lock.
class Answerable {
 public:
  virtual void read() = 0;
  virtual void write(const grpc::ByteBuffer& message) = 0;
  virtual void reply(const grpc::ByteBuffer& message, const Pairs& trailing) = 0;
  virtual void finish(int code, const std::string& words, const Pairs& trailing) = 0;

 protected:
  ~Answerable() = default;
};

// A native stream, likewise.
class AnswerableStream {
 public:
  virtual void answer(std::uint64_t number, const grpc::ByteBuffer& reply) = 0;
  virtual void refuse(int code, const std::string& words, const Pairs& trailing) = 0;

 protected:
  ~AnswerableStream() = default;
};

template <typename Target>
class Handle {
 public:
  Handle(std::uint64_t id, Target* target) : id_(id), target_(target) {}

  std::uint64_t id() const { return id_; }

  // Calls a method of the call, unless it is over.
  template <typename... Parameters, typename... Arguments>
  void tell(void (Target::*method)(Parameters...), Arguments&&... arguments) {
    const std::lock_guard lock(mutex_);
    if (target_ != nullptr) (target_->*method)(std::forward<Arguments>(arguments)...);
  }

  // The call's state is guarded by this.
  std::mutex& mutex() { return mutex_; }
  // The call is over. With the lock.
  void let_go() { target_ = nullptr; }

 private:
  const std::uint64_t id_;
  std::mutex mutex_;
  Target* target_;
};

class CallHandle final : public Handle<Answerable> {
  using Handle::Handle;
};

class StreamHandle final : public Handle<AnswerableStream> {
  using Handle::Handle;
};

}  // namespace seqserve::grpc_edge
