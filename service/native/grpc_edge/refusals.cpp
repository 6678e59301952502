#include "grpc_edge/refusals.h"

namespace seqserve::grpc_edge {

using grpc::Status;
using grpc::StatusCode;

Status status_of(const Refused& refused) {
  switch (refused.reason) {
    case Refusal::full:
    case Refusal::deadline:
      return {StatusCode::RESOURCE_EXHAUSTED, "the queue is full or too long for the deadline"};
    case Refusal::expired:
      return {StatusCode::DEADLINE_EXCEEDED, "the deadline had passed before the request could wait for a batch"};
    case Refusal::overdue:
      return {StatusCode::UNAVAILABLE, "the engine has been computing one batch for too long"};
    case Refusal::away: return {StatusCode::UNAVAILABLE, "what runs this model is away; it is being brought back"};
    case Refusal::closing: return {StatusCode::UNAVAILABLE, "this model takes no new requests"};
  }
  return {StatusCode::INTERNAL, "internal error"};
}

Status status_of(const Outcome& outcome) {
  switch (outcome.ending) {
    case Ending::answered: return Status::OK;
    // What went wrong in an engine is for the log, not for callers.
    case Ending::engine_failed: return {StatusCode::INTERNAL, "internal error"};
    case Ending::expired:
      return {StatusCode::DEADLINE_EXCEEDED, "the deadline passed while the request waited for a batch"};
    case Ending::overdue: return {StatusCode::DEADLINE_EXCEEDED, "the engine computed the batch for too long"};
    case Ending::stuck:
      return {StatusCode::UNAVAILABLE, "the engine has been computing one batch for too long"};
    case Ending::away:
      return {StatusCode::UNAVAILABLE, "what runs this model is away; it is being brought back"};
    case Ending::closing:
      return {StatusCode::UNAVAILABLE, "the gateway stopped before this request was answered"};
  }
  return {StatusCode::INTERNAL, "internal error"};
}

}  // namespace seqserve::grpc_edge
