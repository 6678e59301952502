// What runs a model: the core knows no more of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>

#include "core/clock.h"

namespace seqserve {

// Reads rows [count, input width], writes outputs [count, output width], all FP32 and row-major; ends no
// sooner than what it has set going. Whatever it throws fails the batch, and nothing is tried twice.
using Engine = std::function<void(const float* rows, std::size_t count, float* outputs)>;

// What libraries that are loaded apart from each other call an Engine that one hands to the other.
inline constexpr const char* kEngineCapsule = "seqserve.Engine";

// What an engine throws that knows what its callers are to hear.
//
// number: what whoever runs the engine knows the failure by. code: gRPC's. what(), reason: for callers, unless
// the code is INTERNAL. retry_after: below 0 where nobody is told when to try again.
struct EngineFault : std::runtime_error {
  EngineFault(std::uint64_t number_, int code_, const std::string& words, std::string reason_, Time retry_after_)
      : std::runtime_error(words),
        number(number_),
        code(code_),
        reason(std::move(reason_)),
        retry_after(retry_after_) {}

  std::uint64_t number;
  int code;
  std::string reason;
  Time retry_after;
};

}  // namespace seqserve
