// Why a request has no answer: code, words and details as the gateway's other fronts give them.
#pragma once

#include <grpcpp/support/status.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/limits.h"
#include "core/outcome.h"

namespace seqserve::grpc_edge {

// retry_after: none where no RetryInfo goes with it. fault: the number of the engine's failure, where it is one.
struct Failure {
  grpc::StatusCode code = grpc::StatusCode::INTERNAL;
  std::string words;
  std::string reason;
  std::optional<Time> retry_after;
  std::uint64_t fault = 0;

  // INTERNAL tells callers nothing but the request's id.
  std::string words_for(std::string_view request_id) const;
  grpc::Status status(std::string_view request_id) const;
};

// rows: of the request. left: until its deadline.
Failure failure_of(const Refused& refused, const Limits& limits, std::size_t rows, Time left);
// Of an outcome that is no answer.
Failure failure_of(const Outcome& outcome, const Limits& limits);

Failure shutting_down();
Failure too_many_calls(std::size_t limit);
Failure too_many_bytes(std::size_t limit);
Failure out_of_time(Time timeout);
// What the engine answered is no answer.
Failure no_answer();
Failure reply_too_large(std::size_t limit);

}  // namespace seqserve::grpc_edge
