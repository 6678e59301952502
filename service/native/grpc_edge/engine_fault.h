// What an engine throws that knows what its callers are to hear; to the core it is a failure as any other.
#pragma once

#include <grpcpp/support/status.h>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "core/clock.h"

namespace seqserve::grpc_edge {

// number: what whoever runs the engine knows the failure by. what(), reason: for callers, unless the code is
// INTERNAL. retry_after: none where nobody is told when to try again.
struct EngineFault : std::runtime_error {
  EngineFault(std::uint64_t number_, grpc::StatusCode code_, const std::string& words, std::string reason_,
              std::optional<Time> retry_after_)
      : std::runtime_error(words),
        number(number_),
        code(code_),
        reason(std::move(reason_)),
        retry_after(retry_after_) {}

  std::uint64_t number;
  grpc::StatusCode code;
  std::string reason;
  std::optional<Time> retry_after;
};

}  // namespace seqserve::grpc_edge
