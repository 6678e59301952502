// How much an engine sees at once, how much may wait for it, and how much memory that takes.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

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

// A limit for which there is not enough staging memory. field: of Limits. accepted: the most that there is room for.
struct LimitFault : std::invalid_argument {
  LimitFault(const char* field_, std::size_t came_, std::size_t accepted_)
      : std::invalid_argument(std::string(field_) + ": " + std::to_string(came_) + "; there is staging memory for " +
                              std::to_string(accepted_)),
        field(field_),
        came(came_),
        accepted(accepted_) {}

  const char* field;
  std::size_t came;
  std::size_t accepted;
};

// Input and output of one batch. Throws std::invalid_argument for limits that no request could pass, LimitFault
// above kMaxBufferBytes.
std::size_t buffer_bytes(const RowWidths& widths, const Limits& limits);

// How many buffers a version may have. Throws as `buffer_bytes`, and LimitFault where the largest request would
// not fit into them.
std::size_t count_buffers(const RowWidths& widths, const Limits& limits);

}  // namespace seqserve
