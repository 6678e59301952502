#include "grpc_edge/infer_call.h"

#include <utility>

#include "grpc_edge/infer_service.h"

namespace seqserve::grpc_edge {

InferCall::InferCall(Edge& edge) : edge_(edge), hot_(edge) { ++edge_.calls; }

// Once it is not counted the edge may go.
InferCall::~InferCall() {
  room_.reset();
  --edge_.calls;
}

void InferCall::await(Edge& edge) {
  if (edge.is_stopping) return;
  // From here on the call belongs to gRPC's events; the last of them takes it back.
  InferCall* const call = std::make_unique<InferCall>(edge).release();
  call->context_.AsyncNotifyWhenDone(&call->over_);
  edge.infer.request(&call->context_, &call->message_, &call->responder_, edge.queue, &call->arrived_);
}

void InferCall::on_arrived(bool ok) {
  if (!ok) {
    // The server shuts down; neither of the other events comes.
    const std::unique_ptr<InferCall> last(this);
    return;
  }
  await(edge_);
  if (!edge_.is_hot || !serve_hot()) hand_over();
}

void InferCall::on_finished(bool) {
  leave();
  is_finished_ = true;
  free_when_done();
}

// The caller has the reply, or has left without it; then nobody needs to answer any more.
void InferCall::on_over(bool) {
  is_over_ = true;
  if (handle_ != nullptr) {
    const std::lock_guard lock(handle_->mutex());
    is_finished_ = is_finished_ || !std::exchange(is_answered_, true);
  } else if (!is_finished_ && context_.IsCancelled()) {
    is_finished_ = hot_.leave();
  }
  free_when_done();
}

void InferCall::free_when_done() {
  if (!is_finished_ || !is_over_) return;
  const std::unique_ptr<InferCall> last(this);
  if (handle_ == nullptr) return;
  {
    const std::lock_guard lock(handle_->mutex());
    handle_->let_go();
  }
  edge_.give_place_back();
  edge_.elsewhere.over(handle_->id(), context_.IsCancelled());
}

bool InferCall::serve_hot() {
  grpc::Slice bytes;
  if (!message_.TrySingleSlice(&bytes).ok() && !message_.DumpToSingleSlice(&bytes).ok()) return false;
  const Time deadline = Edge::deadline_of(context_);
  const Taken taken = hot_.take({bytes.begin(), bytes.end()}, deadline);
  if (taken == Taken::elsewhere) return false;
  request_id_ = edge_.request_ids.of(context_);
  if (taken == Taken::refused) {
    refuse(hot_.failure());
    return true;
  }
  // The rows are in the staging buffer: nobody needs the message any more.
  message_.Clear();
  if (hot_.deadline() < deadline) edge_.deadlines.add(*this, hot_.deadline());
  hot_.commit([this](const Outcome& outcome) { answer(outcome); });
  return true;
}

// Once it has answered it may be gone.
void InferCall::answer(const Outcome& outcome) {
  const HotRequest::Answer answer = hot_.answer(outcome, /*is_streamed=*/false);
  if (const auto* failure = std::get_if<Failure>(&answer)) {
    if (failure->code == grpc::StatusCode::INTERNAL) {
      edge_.elsewhere.internal(hot_.internal_end(InferService::kModelInfer, request_id_, failure->fault));
    }
    refuse(*failure);
    return;
  }
  context_.AddTrailingMetadata(kRequestId, request_id_);
  const grpc::ByteBuffer reply(&std::get<grpc::Slice>(answer), 1);
  responder_.Finish(reply, grpc::Status::OK, &finished_);
}

void InferCall::expire() {
  if (!is_finished_ && !is_over_ && hot_.expire()) refuse(hot_.failure());
}

void InferCall::refuse(const Failure& failure) {
  context_.AddTrailingMetadata(kRequestId, request_id_);
  responder_.FinishWithError(failure.status(request_id_), &finished_);
}

void InferCall::hand_over() {
  if (!edge_.take_place(InferService::kModelInfer)) {
    turn_away(too_many_calls(edge_.limits.max_calls_elsewhere));
    return;
  }
  room_ = edge_.take_room(InferService::kModelInfer, message_);
  if (!room_) {
    edge_.give_place_back();
    turn_away(too_many_bytes(edge_.limits.max_bytes_elsewhere));
    return;
  }
  handle_ = std::make_shared<CallHandle>(++edge_.last_id, this);
  edge_.elsewhere.called(handle_, edge_.envelope_of(context_, InferService::kModelInfer), std::move(message_));
}

void InferCall::turn_away(const Failure& failure) {
  message_.Clear();
  request_id_ = edge_.request_ids.of(context_);
  refuse(failure);
}

// The one message has gone with the call.
void InferCall::read() { edge_.elsewhere.message(handle_->id(), std::nullopt); }

// A unary call has a reply and nothing else.
void InferCall::write(const grpc::ByteBuffer&) { edge_.elsewhere.written(handle_->id(), false); }

void InferCall::reply(const grpc::ByteBuffer& message, const Pairs& trailing) {
  if (begin_answer(trailing)) responder_.Finish(message, grpc::Status::OK, &finished_);
}

void InferCall::finish(int code, const std::string& words, const Pairs& trailing) {
  if (!begin_answer(trailing)) return;
  // gRPC takes no OK without a message here.
  const auto status = code == grpc::StatusCode::OK ? grpc::StatusCode::UNKNOWN : static_cast<grpc::StatusCode>(code);
  responder_.FinishWithError({status, words}, &finished_);
}

bool InferCall::begin_answer(const Pairs& trailing) {
  if (std::exchange(is_answered_, true)) return false;
  for (const auto& [key, value] : trailing) context_.AddTrailingMetadata(key, value);
  return true;
}

}  // namespace seqserve::grpc_edge
