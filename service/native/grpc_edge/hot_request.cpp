#include "grpc_edge/hot_request.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "wire/infer_response.h"

namespace seqserve::grpc_edge {

namespace {

constexpr char kFinalResponse[] = "triton_final_response";

std::uint64_t epoch_milliseconds() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(since).count());
}

// Rows [count, width] without NaN or infinity, vectorized: those make the sum of zeros NaN.
bool are_finite(const float* numbers, std::size_t count) {
  float zero = 0;
  for (std::size_t place = 0; place < count; ++place) zero += 0.0F * numbers[place];
  return zero == 0.0F;
}

bool sum_to_one(const float* numbers, std::size_t count, std::size_t classes, float tolerance) {
  for (std::size_t at = 0; at < count; at += classes) {
    double sum = 0;
    for (std::size_t place = 0; place < classes; ++place) sum += static_cast<double>(numbers[at + place]);
    if (!(std::fabs(sum - 1.0) <= static_cast<double>(tolerance))) return false;
  }
  return true;
}

bool fits(const wire::InferRequest& request, const ServedVersion& served, std::size_t& examples) {
  return request.input_name == served.input.name && (!request.has_output || request.output_name == served.output_name) &&
         wire::check_tensor(request, served.input, examples) == wire::Fault::none;
}

}  // namespace

Taken HotRequest::take(wire::Bytes message, Time deadline) {
  started_ = edge_.clock.now();
  wire::InferRequest request;
  if (wire::parse(message, request) != wire::Verdict::hot) return Taken::elsewhere;
  limit_time(deadline, request.timeout_microseconds);
  const Taken taken = edge_.routes.bound(request.model_name, request.model_version,
                                         [&](const ServedPtr& served) { return bind(served, request); });
  if (taken == Taken::elsewhere) return taken;
  id_ = request.id;
  is_raw_ = request.is_raw;
  if (taken == Taken::admitted) ticket_->write(request.content.begin);
  return taken;
}

// The tighter of the call's deadline and the request's timeout.
void HotRequest::limit_time(Time deadline, std::int64_t timeout_microseconds) {
  Time left = deadline == kNever ? kNever : deadline - started_;
  if (timeout_microseconds != 0 && timeout_microseconds < kNever.count() / 1000) {
    left = std::min<Time>(left, std::chrono::microseconds(timeout_microseconds));
  }
  if (left == kNever) left = edge_.limits.default_timeout;
  timeout_ = std::min(left, edge_.limits.max_timeout);
  deadline_ = later(started_, timeout_);
}

Taken HotRequest::bind(const ServedPtr& served, const wire::InferRequest& request) {
  std::size_t examples = 0;
  if (served == nullptr || !fits(request, *served, examples)) return Taken::elsewhere;
  if (edge_.is_draining) {
    ++edge_.turned_away;
    failure_ = shutting_down();
    served->ledger->turned_away(failure_.code);
    return Taken::refused;
  }
  served_ = served;
  return reserve(examples);
}

Taken HotRequest::reserve(std::size_t examples) {
  const Limits& limits = served_->queue->limits();
  if (examples > limits.max_request_rows) {
    served_ = nullptr;
    return Taken::elsewhere;
  }
  served_->ledger->begun();
  examples_ = examples;
  decoded_ = edge_.clock.now();
  auto reserved = served_->queue->reserve(examples, deadline_);
  if (const auto* refused = std::get_if<Refused>(&reserved)) {
    failure_ = fail(failure_of(*refused, limits, examples, deadline_ == kNever ? kNever : deadline_ - decoded_));
    return Taken::refused;
  }
  ticket_.emplace(std::get<Ticket>(std::move(reserved)));
  return Taken::admitted;
}

// Counted, and told to callers as it is.
Failure HotRequest::fail(Failure failure) {
  served_->ledger->ended(failure.code, edge_.clock.now() - started_);
  return failure;
}

// Of an outcome that is no answer.
Failure HotRequest::why_not(const Outcome& outcome) const {
  const std::optional<Failure> said = outcome.ending == Ending::closing ? served_->last_words->read() : std::nullopt;
  return said ? *said : failure_of(outcome, served_->queue->limits());
}

HotRequest::Answer HotRequest::answer(const Outcome& outcome, bool is_streamed) {
  if (outcome.ending != Ending::answered) return fail(why_not(outcome));
  if (!is_sound(outcome)) return fail(no_answer());
  const Time checked = edge_.clock.now();
  const Phases phases{checked - started_, decoded_ - started_, outcome.receipt.queued, outcome.receipt.computed};
  served_->ledger->answered(examples_, phases, epoch_milliseconds());
  grpc::Slice reply = write(outcome, is_streamed);
  served_->ledger->encoded(edge_.clock.now() - checked);
  const auto limit = static_cast<std::size_t>(edge_.limits.max_message_bytes);
  if (reply.size() > limit) return reply_too_large(limit);
  return reply;
}

bool HotRequest::is_sound(const Outcome& outcome) const {
  const std::size_t width = served_->queue->widths().output;
  const std::size_t classes = served_->output_shape.empty() ? 1 : static_cast<std::size_t>(served_->output_shape.back());
  for (const Rows& part : outcome.parts) {
    const std::size_t count = part.count * width;
    if (!are_finite(part.numbers, count)) return false;
    if (served_->sum_tolerance && !sum_to_one(part.numbers, count, classes, *served_->sum_tolerance)) return false;
  }
  return true;
}

grpc::Slice HotRequest::write(const Outcome& outcome, bool is_streamed) const {
  wire::InferResponse response;
  response.model_name = served_->model;
  response.model_version = served_->number;
  response.id = id_;
  response.parameters.reserve(4 + served_->receipt.size());
  if (is_streamed) response.parameters.push_back({kFinalResponse, true});
  response.parameters.push_back({"seqserve_queue_ns", std::int64_t{outcome.receipt.queued.count()}});
  response.parameters.push_back({"seqserve_compute_ns", std::int64_t{outcome.receipt.computed.count()}});
  response.parameters.push_back({"seqserve_batch_size", static_cast<std::int64_t>(outcome.receipt.batch_rows)});
  for (const auto& [name, text] : served_->receipt) response.parameters.push_back({name, std::string_view(text)});
  response.output_name = served_->output_name;
  response.shape.reserve(1 + served_->output_shape.size());
  response.shape.push_back(static_cast<std::int64_t>(examples_));
  response.shape.insert(response.shape.end(), served_->output_shape.begin(), served_->output_shape.end());
  response.is_raw = is_raw_;
  const std::size_t row_bytes = served_->queue->widths().output * sizeof(float);
  for (const Rows& part : outcome.parts) {
    const auto* begin = reinterpret_cast<const std::uint8_t*>(part.numbers);
    response.content.push_back({begin, begin + part.count * row_bytes});
  }
  grpc::Slice slice(is_streamed ? wire::stream_size(response) : wire::size(response));
  // A slice that was just made is nobody else's.
  auto* const to = const_cast<std::uint8_t*>(slice.begin());
  is_streamed ? wire::write_streamed(response, to) : wire::write(response, to);
  return slice;
}

bool HotRequest::leave() {
  if (!ticket_ || !ticket_->leave()) return false;
  const bool is_late = deadline_ != kNever && edge_.clock.now() >= deadline_ - kDeadlineSlack;  // gRPC's timers are not ours
  fail({is_late ? grpc::StatusCode::DEADLINE_EXCEEDED : grpc::StatusCode::CANCELLED, "", "", std::nullopt, 0});
  return true;
}

bool HotRequest::expire() {
  if (!ticket_ || !ticket_->leave()) return false;
  failure_ = fail(out_of_time(timeout_));
  return true;
}

InternalEnd HotRequest::internal_end(std::string path, std::string request_id, std::uint64_t fault) const {
  return {served_->model, served_->number, std::move(path), std::move(request_id), fault};
}

}  // namespace seqserve::grpc_edge
