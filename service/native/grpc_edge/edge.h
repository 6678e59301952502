// What all calls of a listener share.
#pragma once

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/clock.h"
#include "grpc_edge/byte_room.h"
#include "grpc_edge/deadlines.h"
#include "grpc_edge/elsewhere.h"
#include "grpc_edge/infer_service.h"
#include "grpc_edge/open_streams.h"
#include "grpc_edge/request_ids.h"
#include "grpc_edge/routes.h"

namespace seqserve::grpc_edge {

// default_timeout: for callers who set none; max_timeout: nobody waits longer. max_calls_elsewhere: how many may
// be under way there. max_bytes_elsewhere: of their messages; at least as many as one message may have.
struct CallLimits {
  int max_message_bytes = 16 << 20;
  Time default_timeout = kNever;
  Time max_timeout = kNever;
  std::size_t max_calls_elsewhere = 1024;
  std::size_t max_bytes_elsewhere = std::size_t{64} << 20;
};

struct Edge {
  Edge(const CallLimits& call_limits, const Clock& time, Elsewhere& others)
      : limits(call_limits), clock(time), elsewhere(others), bytes_elsewhere(call_limits.max_bytes_elsewhere) {}

  // A place for a call elsewhere, of the method with that path; false where all are taken.
  bool take_place(std::string_view path);
  void give_place_back() { --calls_elsewhere; }
  // Room for a message elsewhere, of a call that has a place; none where others' have it.
  std::optional<ByteRoom::Share> take_room(std::string_view path, const grpc::ByteBuffer& message);

  // The deadline of a call that has arrived, on the core's clock.
  static Time deadline_of(const grpc::ServerContext& call);
  Envelope envelope_of(const grpc::ServerContext& call, const std::string& path) const;

  const CallLimits limits;
  const Clock& clock;
  Elsewhere& elsewhere;
  Routes routes;
  OpenStreams streams;
  Deadlines deadlines;
  RequestIds request_ids;
  InferService infer;
  grpc::AsyncGenericService generic;
  grpc::ServerCompletionQueue* queue = nullptr;

  // Calls that are awaited or served: the queue is needed until there are none.
  std::atomic<std::size_t> calls{0};
  std::atomic<std::size_t> calls_elsewhere{0};
  ByteRoom bytes_elsewhere;
  std::atomic<std::uint64_t> last_id{0};
  std::atomic<std::uint64_t> turned_away{0};
  // Requests for inference that found no place or no room elsewhere.
  std::atomic<std::uint64_t> refused_calls{0};
  std::atomic<bool> is_hot{true};
  std::atomic<bool> is_draining{false};
  std::atomic<bool> is_stopping{false};
};

}  // namespace seqserve::grpc_edge
