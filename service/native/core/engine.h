// What runs a model: the core knows no more of it.
#pragma once

#include <cstddef>
#include <functional>

namespace seqserve {

// Reads rows [count, input width], writes outputs [count, output width], all FP32 and row-major; ends no
// sooner than what it has set going. Whatever it throws fails the batch and is handed on to the batch's callers
// as it is: what it means is known to those who run the engine and answer callers. Nothing is tried twice.
using Engine = std::function<void(const float* rows, std::size_t count, float* outputs)>;

// What libraries that are loaded apart from each other call an Engine that one hands to the other.
inline constexpr const char* kEngineCapsule = "seqserve.Engine";

}  // namespace seqserve
