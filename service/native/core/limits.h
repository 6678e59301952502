// How much an engine sees at once, how much may wait for it, and how much memory that takes.
#pragma once

#include <cstddef>

#include "core/clock.h"

namespace seqserve {

inline constexpr std::size_t kMaxBufferBytes = std::size_t{256} << 20;
// One gathers, one is computed, one is answered.
inline constexpr std::size_t kLeastBuffers = 3;

// FP32 numbers in one row of input and of output.
struct RowWidths {
  std::size_t input = 0;
  std::size_t output = 0;
};

struct Limits {
  std::size_t max_batch_rows = 1;
  // Rows that may wait; those in a sealed batch no longer do.
  std::size_t max_queue_rows = 4096;
  std::size_t max_request_rows = 1024;
  // Of all buffers of a version together, beyond the three that each has.
  std::size_t max_staging_bytes = std::size_t{1} << 30;
  // How long an idle engine waits for a fuller batch.
  Time max_queue_delay{0};
  // How long the engine may take for a batch.
  Time max_batch_time = kNever;
};

// Input and output of one batch. Throws std::invalid_argument above kMaxBufferBytes.
std::size_t buffer_bytes(const RowWidths& widths, const Limits& limits);

// How many buffers a version may have. Throws std::invalid_argument for limits that no request could
// pass, or where the largest request would not fit into them.
std::size_t count_buffers(const RowWidths& widths, const Limits& limits);

}  // namespace seqserve
