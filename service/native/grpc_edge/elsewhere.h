// Whoever answers what the hot path does not: the edge tells it here, and hears of it by the handles.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/clock.h"

namespace seqserve::grpc_edge {

class CallHandle;
class StreamHandle;

// A key may come more than once; values of keys that end in -bin are bytes.
using Pairs = std::vector<std::pair<std::string, std::string>>;

// What comes with a call beside its messages. timeout: from now on; kNever without a deadline.
struct Envelope {
  std::string path;
  Pairs metadata;
  Time timeout = kNever;
};

// A hot request ended as INTERNAL. fault: the number of the engine's failure, 0 for answers that are none.
struct InternalEnd {
  std::string model;
  std::string version;
  std::string path;
  std::string request_id;
  std::uint64_t fault = 0;
};

// Called on any thread, and but for `called` with locks held: it must not call back, nor throw.
class Elsewhere {
 public:
  virtual ~Elsewhere() = default;

  // message: of a unary call whose message is there already; otherwise the handle reads.
  virtual void called(std::shared_ptr<CallHandle> call, Envelope envelope,
                      std::optional<grpc::ByteBuffer> message) = 0;
  // What the handle has read; none once the caller has sent all, or there was no room for what it sent.
  virtual void message(std::uint64_t call, std::optional<grpc::ByteBuffer> message) = 0;
  virtual void written(std::uint64_t call, bool is_written) = 0;
  // The last that is heard of a call or of a native stream.
  virtual void over(std::uint64_t call, bool is_cancelled) = 0;
  // One message of a native stream that the hot path does not answer.
  virtual void streamed(std::shared_ptr<StreamHandle> stream, Envelope envelope, std::uint64_t number,
                        grpc::ByteBuffer message) = 0;
  virtual void internal(InternalEnd end) = 0;
};

}  // namespace seqserve::grpc_edge
