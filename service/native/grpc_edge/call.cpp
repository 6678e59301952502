#include "grpc_edge/call.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "grpc_edge/refusals.h"
#include "wire/infer_response.h"

namespace seqserve::grpc_edge {

void Call::await(Desk& desk) {
  if (desk.is_stopping) return;
  // From here on the call belongs to gRPC's events; the last of them takes it back.
  Call* const call = std::make_unique<Call>(desk).release();
  call->context_.AsyncNotifyWhenDone(&call->over_);
  desk.service.request(&call->context_, &call->message_, &call->responder_, &desk.queue, &call->arrived_);
}

void Call::on_arrived(bool ok) {
  if (!ok) {
    // The server shuts down; neither of the other events comes.
    const std::unique_ptr<Call> last(this);
    return;
  }
  await(desk_);
  serve();
}

void Call::on_finished(bool) {
  is_finished_ = true;
  free_when_done();
}

// The caller has the reply, or has left without it.
void Call::on_over(bool) {
  is_over_ = true;
  if (!is_finished_ && ticket_ && context_.IsCancelled() && ticket_->leave()) refuse(grpc::Status::CANCELLED);
  free_when_done();
}

void Call::free_when_done() {
  if (is_finished_ && is_over_) const std::unique_ptr<Call> last(this);
}

void Call::serve() {
  if (!message_.TrySingleSlice(&bytes_).ok() && !message_.DumpToSingleSlice(&bytes_).ok()) {
    refuse({grpc::StatusCode::INTERNAL, "internal error"});
    return;
  }
  wire::InferRequest request;
  const wire::Verdict verdict = wire::parse({bytes_.begin(), bytes_.end()}, request);
  if (verdict == wire::Verdict::malformed) {
    refuse({grpc::StatusCode::INVALID_ARGUMENT, "the message is no ModelInferRequest"});
    return;
  }
  version_ = verdict == wire::Verdict::hot ? desk_.resolve(request.model_name, request.model_version) : nullptr;
  std::size_t examples = 0;
  const bool is_served = version_ != nullptr && request.input_name == version_->input.name &&
                         (!request.has_output || request.output_name == version_->output_name) &&
                         wire::check_tensor(request, version_->input, examples) == wire::Fault::none;
  if (is_served) {
    admit(*version_, request, examples);
  } else {
    hand_over();
  }
}

void Call::admit(const ServedVersion& version, const wire::InferRequest& request, std::size_t examples) {
  auto reserved = version.queue->reserve(examples, deadline(request.timeout_microseconds));
  if (const auto* refused = std::get_if<Refused>(&reserved)) {
    refuse(status_of(*refused));
    return;
  }
  ticket_.emplace(std::get<Ticket>(std::move(reserved)));
  ticket_->write(request.content.begin);
  id_ = request.id;
  is_raw_ = request.is_raw;
  // The rows are in the staging buffer: nobody needs the message any more.
  bytes_ = grpc::Slice();
  message_.Clear();
  ticket_->commit([this](const Outcome& outcome) { answer(outcome); });
}

void Call::answer(const Outcome& outcome) {
  if (outcome.ending != Ending::answered) {
    refuse(status_of(outcome));
    return;
  }
  wire::InferResponse response;
  response.model_name = version_->model;
  response.model_version = version_->number;
  response.id = id_;
  response.parameters = {{"seqserve_queue_ns", std::int64_t{outcome.receipt.queued.count()}},
                         {"seqserve_compute_ns", std::int64_t{outcome.receipt.computed.count()}},
                         {"seqserve_batch_size", static_cast<std::int64_t>(outcome.receipt.batch_rows)}};
  response.output_name = version_->output_name;
  response.shape = {0};
  response.shape.insert(response.shape.end(), version_->output_shape.begin(), version_->output_shape.end());
  response.is_raw = is_raw_;
  const std::size_t row_bytes = version_->queue->widths().output * sizeof(float);
  for (const Rows& part : outcome.parts) {
    const auto* begin = reinterpret_cast<const std::uint8_t*>(part.numbers);
    response.content.push_back({begin, begin + part.count * row_bytes});
    response.shape[0] += static_cast<std::int64_t>(part.count);
  }
  const grpc::Slice slice(wire::size(response));
  // A slice that was just made is nobody else's.
  wire::write(response, const_cast<std::uint8_t*>(slice.begin()));
  responder_.Finish(grpc::ByteBuffer(&slice, 1), grpc::Status::OK, &finished_);
}

void Call::hand_over() {
  grpc::ByteBuffer reply;
  const grpc::Status status = desk_.elsewhere(message_, reply);
  if (status.ok()) {
    responder_.Finish(reply, status, &finished_);
  } else {
    refuse(status);
  }
}

void Call::refuse(const grpc::Status& status) { responder_.FinishWithError(status, &finished_); }

// The tighter of the call's deadline and the request's timeout, on the core's clock.
Time Call::deadline(std::int64_t timeout_microseconds) const {
  using std::chrono::system_clock;
  const Time now = desk_.clock.now();
  Time deadline = kNever;
  if (const auto wished = context_.deadline(); wished != system_clock::time_point::max()) {
    const Time left = std::chrono::duration_cast<Time>(wished - system_clock::now());
    deadline = left < kNever - now ? now + left : kNever;
  }
  if (timeout_microseconds != 0 && timeout_microseconds < (kNever - now).count() / 1000) {
    deadline = std::min(deadline, now + std::chrono::microseconds(timeout_microseconds));
  }
  return deadline;
}

}  // namespace seqserve::grpc_edge
