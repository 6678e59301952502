#include "grpc_edge/failure.h"

#include <algorithm>
#include <cstdio>
#include <exception>

#include "grpc_edge/engine_fault.h"
#include "wire/status_details.h"

namespace seqserve::grpc_edge {

using grpc::StatusCode;

namespace {

constexpr Time kMostRetry = std::chrono::hours(24);
constexpr Time kRetryLater = std::chrono::seconds(1);

double seconds(Time time) { return std::chrono::duration<double>(time).count(); }

// As Python formats with :.3g and :g.
std::string text(double number, int digits) {
  char buffer[32];
  std::snprintf(buffer, sizeof(buffer), "%.*g", digits, number);
  return buffer;
}

Failure unavailable(std::string reason, std::string words) {
  return {StatusCode::UNAVAILABLE, std::move(words), std::move(reason), kRetryLater, 0};
}

Failure late(std::string words) {
  return {StatusCode::DEADLINE_EXCEEDED, std::move(words), "DEADLINE_EXCEEDED", std::nullopt, 0};
}

Failure overloaded(std::string words, Time retry_after) {
  return {StatusCode::RESOURCE_EXHAUSTED, std::move(words), "OVERLOADED", retry_after, 0};
}

// A version whose rows are long has memory for fewer than its queue may hold.
std::string full(const Refused& refused, const Limits& limits, std::size_t rows) {
  const std::string wait = std::to_string(refused.waiting_rows) + " examples wait, ";
  const std::string more = std::to_string(rows) + " more";
  if (refused.memory_bytes == 0) {
    return wait + more + " would pass the limit of " + std::to_string(limits.max_queue_rows);
  }
  return wait + "and the " + std::to_string(refused.memory_bytes) +
         " bytes in which this model's batches are gathered have no room for " + more;
}

Failure away() { return unavailable("ENGINE_UNAVAILABLE", "what runs this model is away; it is being brought back"); }

Failure hung() { return unavailable("ENGINE_UNAVAILABLE", "the engine has been computing one batch for too long"); }

// What the engine threw; nobody hears of what is no EngineFault.
Failure failure_of(const std::exception_ptr& thrown) {
  if (thrown == nullptr) return no_answer();
  try {
    std::rethrow_exception(thrown);
  } catch (const EngineFault& fault) {
    return {fault.code, fault.what(), fault.reason, fault.retry_after, fault.number};
  } catch (...) {
    return no_answer();
  }
}

}  // namespace

std::string Failure::words_for(std::string_view request_id) const {
  if (code != StatusCode::INTERNAL) return words;
  return "internal error; request id " + std::string(request_id);
}

grpc::Status Failure::status(std::string_view request_id) const {
  const std::string told = words_for(request_id);
  const std::string_view public_reason = code == StatusCode::INTERNAL ? std::string_view("INTERNAL") : reason;
  wire::StatusDetails details{code, told, public_reason, request_id, {}};
  if (retry_after) details.retry_after_ns = std::min(*retry_after, kMostRetry).count();
  return {code, told, wire::serialize(details)};
}

Failure failure_of(const Refused& refused, const Limits& limits, std::size_t rows, Time left) {
  switch (refused.reason) {
    case Refusal::full: return overloaded(full(refused, limits, rows), refused.retry_after);
    case Refusal::deadline:
      return overloaded("the queue takes about " + text(seconds(refused.retry_after), 3) + " s, the caller waits " +
                            text(seconds(left), 3) + " s",
                        refused.retry_after);
    case Refusal::expired: return late("the deadline had passed before the request could wait for a batch");
    case Refusal::overdue: return hung();
    case Refusal::away: return away();
    case Refusal::closing: return unavailable("SHUTTING_DOWN", "this model takes no new requests");
  }
  return no_answer();
}

Failure failure_of(const Outcome& outcome, const Limits& limits) {
  switch (outcome.ending) {
    case Ending::answered: return no_answer();
    case Ending::engine_failed: return failure_of(outcome.failure);
    case Ending::expired: return late("the deadline passed while the request waited for a batch");
    case Ending::overdue:
      return late("the engine computed the batch for more than " + text(seconds(limits.max_batch_time), 6) + " s");
    case Ending::stuck: return hung();
    case Ending::away: return away();
    case Ending::closing:
      return unavailable("SHUTTING_DOWN", "the gateway stopped before this request was answered");
  }
  return no_answer();
}

Failure shutting_down() { return unavailable("SHUTTING_DOWN", "the gateway is shutting down"); }

Failure too_many_calls(std::size_t limit) {
  return overloaded("the gateway answers " + std::to_string(limit) + " such calls at once, and has as many", kRetryLater);
}

Failure too_many_bytes(std::size_t limit) {
  return overloaded("the gateway holds " + std::to_string(limit) +
                        " bytes of such calls' messages at once, and has no room for this one",
                    kRetryLater);
}

Failure out_of_time(Time timeout) { return late("no answer within " + text(seconds(timeout), 6) + " s"); }

Failure no_answer() { return {StatusCode::INTERNAL, "", "INTERNAL", std::nullopt, 0}; }

Failure reply_too_large(std::size_t limit) {
  return {StatusCode::RESOURCE_EXHAUSTED,
          "the reply has more than " + std::to_string(limit) + " bytes, the limit of this gateway", "MESSAGE_TOO_LARGE",
          std::nullopt, 0};
}

}  // namespace seqserve::grpc_edge
