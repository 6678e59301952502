#include "grpc_edge/side_call.h"

#include <stdexcept>
#include <utility>

#include "grpc_edge/failure.h"

namespace seqserve::grpc_edge {

void SideCall::serve(GenericCallPtr call) {
  // From here on it belongs to gRPC's events; the last of them takes it back.
  std::make_unique<SideCall>(std::move(call)).release()->offer();
}

SideCall::SideCall(GenericCallPtr call)
    : call_(std::move(call)),
      edge_(call_->edge),
      handle_(std::make_shared<CallHandle>(++edge_.last_id, this)) {
  call_->read = event_of<&SideCall::on_read>(this);
  call_->written = event_of<&SideCall::on_written>(this);
  call_->finished = event_of<&SideCall::on_finished>(this);
  call_->over = event_of<&SideCall::on_over>(this);
}

void SideCall::offer() {
  has_place_ = edge_.take_place(call_->context.method());
  if (has_place_) {
    edge_.elsewhere.called(handle_, edge_.envelope_of(call_->context, call_->context.method()), std::nullopt);
    return;
  }
  const std::lock_guard lock(handle_->mutex());
  refuse(too_many_calls(edge_.limits.max_calls_elsewhere));
}

bool SideCall::take_room(const grpc::ByteBuffer& message) {
  std::optional<ByteRoom::Share> room = edge_.take_room(call_->context.method(), message);
  if (room) {
    rooms_.push_back(std::move(*room));
  } else {
    refuse(too_many_bytes(edge_.limits.max_bytes_elsewhere));
  }
  return room.has_value();
}

void SideCall::refuse(const Failure& failure) {
  const std::string request_id = edge_.request_ids.of(call_->context);
  end_with({failure.status(request_id), {{kRequestId, request_id}}});
}

void SideCall::read() {
  if (is_ending_) {
    edge_.elsewhere.message(handle_->id(), std::nullopt);
    return;
  }
  if (is_reading_) throw std::logic_error("one message is read at a time");
  is_reading_ = true;
  call_->stream.Read(&call_->incoming, &call_->read);
}

void SideCall::write(const grpc::ByteBuffer& message) {
  if (is_ending_) {
    edge_.elsewhere.written(handle_->id(), false);
    return;
  }
  if (is_writing_) throw std::logic_error("one message is written at a time");
  is_writing_ = true;
  if (!rooms_.empty()) rooms_.pop_front();
  call_->stream.Write(message, &call_->written);
}

void SideCall::reply(const grpc::ByteBuffer& message, const Pairs& trailing) {
  if (is_writing_) throw std::logic_error("a call that writes messages ends with a status");
  if (std::exchange(is_ending_, true)) return;
  call_->add_trailing(trailing);
  call_->stream.WriteAndFinish(message, {}, grpc::Status::OK, &call_->finished);
}

void SideCall::finish(int code, const std::string& words, const Pairs& trailing) {
  end_with({{static_cast<grpc::StatusCode>(code), words}, trailing});
}

void SideCall::end_with(End wished) {
  if (std::exchange(is_ending_, true)) return;
  if (is_writing_) {
    postponed_ = std::move(wished);
  } else {
    end(wished);
  }
}

void SideCall::end(const End& end) {
  call_->add_trailing(end.trailing);
  call_->stream.Finish(end.status, &call_->finished);
}

void SideCall::on_read(bool ok) {
  {
    const std::lock_guard lock(handle_->mutex());
    is_reading_ = false;
    std::optional<grpc::ByteBuffer> message;
    if (ok && !is_ending_ && take_room(call_->incoming)) message = std::move(call_->incoming);
    call_->incoming = grpc::ByteBuffer();
    edge_.elsewhere.message(handle_->id(), std::move(message));
  }
  free_when_done();
}

void SideCall::on_written(bool ok) {
  {
    const std::lock_guard lock(handle_->mutex());
    is_writing_ = false;
    edge_.elsewhere.written(handle_->id(), ok);
    if (postponed_) end(*std::exchange(postponed_, std::nullopt));
  }
  free_when_done();
}

void SideCall::on_finished(bool) {
  {
    const std::lock_guard lock(handle_->mutex());
    is_finished_ = true;
  }
  free_when_done();
}

// Where it was not being ended, the caller has left, and nobody needs to end it.
void SideCall::on_over(bool) {
  {
    const std::lock_guard lock(handle_->mutex());
    is_over_ = true;
    if (!std::exchange(is_ending_, true)) is_finished_ = true;
  }
  free_when_done();
}

void SideCall::free_when_done() {
  {
    const std::lock_guard lock(handle_->mutex());
    if (!is_over_ || !is_finished_ || is_reading_ || is_writing_) return;
    handle_->let_go();
  }
  const std::unique_ptr<SideCall> last(this);
  if (!has_place_) return;
  edge_.give_place_back();
  edge_.elsewhere.over(handle_->id(), call_->context.IsCancelled());
}

}  // namespace seqserve::grpc_edge
