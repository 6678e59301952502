// One request on the hot path: read, checked, bound to a version, waiting in its queue, answered. It knows no
// call: a unary one and a message of a stream are answered alike.
#pragma once

#include <grpcpp/support/slice.h>

#include <cstddef>
#include <optional>
#include <string>
#include <variant>

#include "core/ticket.h"
#include "grpc_edge/edge.h"
#include "grpc_edge/failure.h"
#include "wire/infer_request.h"

namespace seqserve::grpc_edge {

// elsewhere: perhaps right, perhaps wrong, but not for the hot path. refused: `failure` says why.
enum class Taken { elsewhere, refused, admitted };

class HotRequest {
 public:
  // The reply's message, or why there is none.
  using Answer = std::variant<grpc::Slice, Failure>;

  explicit HotRequest(Edge& edge) : edge_(edge) {}

  // deadline: of the call. Nobody needs the message once this has returned.
  Taken take(wire::Bytes message, Time deadline);
  const Failure& failure() const { return failure_; }

  // What was admitted may reach the engine now; the completion may come before this returns. Once.
  void commit(Completion completion) {
    // Whoever hears the completion may let go of the request, and with it of the queue, which is still speaking.
    const ServedPtr served = served_;
    ticket_->commit(std::move(completion));
  }

  // What becomes of the outcome; as a ModelStreamInferResponse where it is a message of a stream.
  Answer answer(const Outcome& outcome, bool is_streamed);

  // The caller has left. True: the completion will not come any more.
  bool leave();
  // Its time is over while it waits or is computed; likewise.
  bool expire();

  // For the log, where it ended as INTERNAL.
  InternalEnd internal_end(std::string path, std::string request_id, std::uint64_t fault) const;

  // The request's own.
  const std::string& id() const { return id_; }
  Time deadline() const { return deadline_; }

 private:
  Taken bind(const ServedPtr& served, const wire::InferRequest& request);
  Taken reserve(std::size_t examples);
  void limit_time(Time deadline, std::int64_t timeout_microseconds);
  Failure why_not(const Outcome& outcome) const;
  bool is_sound(const Outcome& outcome) const;
  grpc::Slice write(const Outcome& outcome, bool is_streamed) const;
  Failure fail(Failure failure);

  Edge& edge_;
  ServedPtr served_;
  std::optional<Ticket> ticket_;
  std::string id_;
  Failure failure_;
  Time started_{0};
  Time decoded_{0};
  Time deadline_ = kNever;
  Time timeout_ = kNever;
  std::size_t examples_ = 0;
  bool is_raw_ = true;
};

}  // namespace seqserve::grpc_edge
