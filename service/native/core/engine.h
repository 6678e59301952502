// What runs a model: the core knows no more of it.
#pragma once

#include <cstddef>
#include <functional>

namespace seqserve {

// Reads rows [count, input width], writes outputs [count, output width], all FP32 and row-major; ends no
// sooner than what it has set going. Whatever it throws fails the batch, and nothing is tried twice.
using Engine = std::function<void(const float* rows, std::size_t count, float* outputs)>;

}  // namespace seqserve
