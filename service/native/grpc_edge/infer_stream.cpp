#include "grpc_edge/infer_stream.h"

#include <algorithm>
#include <utility>

#include "grpc_edge/failure.h"
#include "wire/infer_response.h"

namespace seqserve::grpc_edge {

namespace {

grpc::ByteBuffer buffer_of(const grpc::Slice& slice) { return {&slice, 1}; }

Failure drained() {
  Failure failure = shutting_down();
  failure.words += "; what has no reply was not answered";
  return failure;
}

}  // namespace

void InferStream::serve(GenericCallPtr call) {
  Edge& edge = call->edge;
  // From here on it belongs to gRPC's events; the last of them takes it back.
  InferStream* const stream = std::make_unique<InferStream>(std::move(call)).release();
  edge.streams.add(*stream);
  // gRPC had taken the call before it was told to stop.
  if (edge.is_draining) stream->drain();
  stream->go_on(Lock(stream->handle_->mutex()));
}

InferStream::InferStream(GenericCallPtr call)
    : call_(std::move(call)),
      edge_(call_->edge),
      handle_(std::make_shared<StreamHandle>(++edge_.last_id, this)),
      request_id_(edge_.request_ids.of(call_->context)) {
  call_->read = event_of<&InferStream::on_read>(this);
  call_->written = event_of<&InferStream::on_written>(this);
  call_->finished = event_of<&InferStream::on_finished>(this);
  call_->over = event_of<&InferStream::on_over>(this);
}

void InferStream::drain() {
  const std::lock_guard lock(handle_->mutex());
  if (!end_) end_ = End{drained().status(request_id_), {{kRequestId, request_id_}}};
  end_when_answered();
}

Time InferStream::sweep(Time now, std::vector<HotRequestPtr>& expired) {
  if (now < earliest_) return earliest_;
  earliest_ = kNever;
  const std::lock_guard lock(handle_->mutex());
  // What could leave has left.
  if (is_over_) return earliest_;
  for (auto each = hot_.begin(); each != hot_.end();) {
    auto& [number, hot] = *each;
    const Time latest = later(hot->deadline(), kDeadlineSlack);
    if (latest <= now && hot->expire()) {
      put(refusal(hot->failure(), hot->id(), number));
      expired.push_back(std::move(hot));
      each = hot_.erase(each);
      continue;
    }
    if (latest > now) earliest_ = std::min(earliest_, latest);
    ++each;
  }
  write_next();
  return earliest_;
}

void InferStream::on_read(bool ok) {
  std::uint64_t number = 0;
  grpc::ByteBuffer message;
  Lock lock(handle_->mutex());
  is_reading_ = false;
  has_all_ = !ok;
  // What comes after the end has begun has no reply, and was not answered; after the caller has left, no reader.
  if (ok && !end_ && !is_over_) {
    is_taking_ = true;
    number = ++received_;
    ++in_flight_;
    message = call_->incoming;
  }
  call_->incoming.Clear();
  go_on(std::move(lock));
  if (number == 0) return;
  take(number, message);
  lock = Lock(handle_->mutex());
  is_taking_ = false;
  go_on(std::move(lock));
}

// Without the lock: the version's comes within, and the completion may.
void InferStream::take(std::uint64_t number, const grpc::ByteBuffer& message) {
  auto request = std::make_unique<HotRequest>(edge_);
  HotRequest& hot = *request;
  grpc::Slice bytes;
  const bool is_read = message.TrySingleSlice(&bytes).ok() || message.DumpToSingleSlice(&bytes).ok();
  const Taken taken = edge_.is_hot && is_read
                          ? hot.take({bytes.begin(), bytes.end()}, Edge::deadline_of(call_->context))
                          : Taken::elsewhere;
  if (taken == Taken::admitted) {
    {
      const std::lock_guard lock(handle_->mutex());
      hot_.emplace(number, std::move(request));
    }
    earliest_ = std::min(earliest_, later(hot.deadline(), kDeadlineSlack));
    edge_.streams.expect(earliest_);
    hot.commit([this, number, &hot](const Outcome& outcome) { complete(number, hot, outcome); });
  } else if (taken == Taken::refused) {
    const std::lock_guard lock(handle_->mutex());
    put(refusal(hot.failure(), hot.id(), number));
  } else {
    hand_over(number, message);
  }
}

void InferStream::hand_over(std::uint64_t number, const grpc::ByteBuffer& message) {
  const std::lock_guard lock(handle_->mutex());
  if (!has_place_ && !edge_.take_place(InferService::kModelStreamInfer)) {
    put(refusal(too_many_calls(edge_.limits.max_calls_elsewhere), "", number));
    return;
  }
  std::optional<ByteRoom::Share> room = edge_.take_room(InferService::kModelStreamInfer, message);
  if (!room) {
    if (!has_place_) edge_.give_place_back();
    put(refusal(too_many_bytes(edge_.limits.max_bytes_elsewhere), "", number));
    return;
  }
  has_place_ = true;
  elsewhere_.emplace(number, std::move(*room));
  edge_.elsewhere.streamed(handle_, edge_.envelope_of(call_->context, call_->context.method()), number, message);
}

void InferStream::complete(std::uint64_t number, HotRequest& hot, const Outcome& outcome) {
  grpc::ByteBuffer reply = reply_to(number, hot, outcome);
  HotRequestPtr answered;
  Lock lock(handle_->mutex());
  const auto found = hot_.find(number);
  answered = std::move(found->second);
  hot_.erase(found);
  put(std::move(reply));
  go_on(std::move(lock));
}

grpc::ByteBuffer InferStream::reply_to(std::uint64_t number, HotRequest& hot, const Outcome& outcome) {
  const HotRequest::Answer answer = hot.answer(outcome, /*is_streamed=*/true);
  if (const auto* reply = std::get_if<grpc::Slice>(&answer)) return buffer_of(*reply);
  const auto& failure = std::get<Failure>(answer);
  if (failure.code == grpc::StatusCode::INTERNAL) {
    edge_.elsewhere.internal(
        hot.internal_end(InferService::kModelStreamInfer, message_id(hot.id(), number), failure.fault));
  }
  return refusal(failure, hot.id(), number);
}

grpc::ByteBuffer InferStream::refusal(const Failure& failure, const std::string& own_id, std::uint64_t number) const {
  const std::string words = failure.words_for(message_id(own_id, number));
  std::string reply = wire::stream_error(words, own_id);
  // The message's own id is as long as that.
  if (reply.size() > static_cast<std::size_t>(edge_.limits.max_message_bytes)) reply = wire::stream_error(words, "");
  return buffer_of(grpc::Slice(reply));
}

std::string InferStream::message_id(const std::string& own_id, std::uint64_t number) const {
  return request_id_ + "." + (is_request_id(own_id) ? own_id : std::to_string(number));
}

void InferStream::put(grpc::ByteBuffer reply) { replies_.push_back(std::move(reply)); }

void InferStream::answer(std::uint64_t number, const grpc::ByteBuffer& reply) {
  if (elsewhere_.erase(number) == 0) return;
  put(reply);
  write_next();
}

void InferStream::refuse(int code, const std::string& words, const Pairs& trailing) {
  if (end_) return;
  end_ = End{{static_cast<grpc::StatusCode>(code), words}, trailing};
  end_when_answered();
}

void InferStream::on_written(bool) {
  Lock lock(handle_->mutex());
  is_writing_ = false;
  --in_flight_;
  go_on(std::move(lock));
}

void InferStream::on_finished(bool) {
  Lock lock(handle_->mutex());
  is_finished_ = true;
  go_on(std::move(lock));
}

// Where it was not being ended, the caller has left: nobody computes for it what still can be let go.
void InferStream::on_over(bool) {
  std::vector<HotRequestPtr> left;
  Lock lock(handle_->mutex());
  is_over_ = true;
  if (!std::exchange(is_ending_, true)) is_finished_ = true;
  for (auto each = hot_.begin(); each != hot_.end();) {
    if (!each->second->leave()) {
      ++each;
      continue;
    }
    left.push_back(std::move(each->second));
    each = hot_.erase(each);
  }
  elsewhere_.clear();
  go_on(std::move(lock));
}

void InferStream::go_on(Lock lock) {
  // The lock outlives the stream.
  const std::shared_ptr<StreamHandle> handle = handle_;
  read_next();
  write_next();
  end_when_answered();
  const bool is_last = is_done();
  if (is_last) handle->let_go();
  lock.unlock();
  if (!is_last) return;
  edge_.streams.remove(*this);
  const std::unique_ptr<InferStream> last(this);
  if (!has_place_) return;
  edge_.give_place_back();
  edge_.elsewhere.over(handle->id(), call_->context.IsCancelled());
}

void InferStream::read_next() {
  if (is_reading_ || is_taking_ || is_ending_ || has_all_ || end_ || in_flight_ >= kMostInFlight) return;
  is_reading_ = true;
  call_->stream.Read(&call_->incoming, &call_->read);
}

void InferStream::write_next() {
  if (is_writing_ || is_ending_ || replies_.empty()) return;
  is_writing_ = true;
  call_->stream.Write(replies_.front(), &call_->written);
  replies_.pop_front();
}

void InferStream::end_when_answered() {
  if (is_ending_ || in_flight_ != 0 || !(has_all_ || end_)) return;
  is_ending_ = true;
  const End end = has_all_ ? End{grpc::Status::OK, {{kRequestId, request_id_}}} : *end_;
  call_->add_trailing(end.trailing);
  call_->stream.Finish(end.status, &call_->finished);
}

bool InferStream::is_done() const {
  return is_over_ && is_finished_ && !is_reading_ && !is_writing_ && !is_taking_ && hot_.empty();
}

}  // namespace seqserve::grpc_edge
