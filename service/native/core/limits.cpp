#include "core/limits.h"

#include <algorithm>
#include <stdexcept>

namespace seqserve {

namespace {

std::size_t divide_up(std::size_t dividend, std::size_t divisor) {
  return dividend / divisor + (dividend % divisor != 0);
}

void check(const RowWidths& widths, const Limits& limits) {
  const bool has_room = limits.max_batch_rows >= 1 && limits.max_queue_rows >= 1 && limits.max_request_rows >= 1;
  const bool has_time = limits.max_queue_delay >= Time{0} && limits.max_batch_time > Time{0};
  if (!has_room || !has_time) throw std::invalid_argument("limits that no request could pass");
  if (widths.input == 0 || widths.output == 0) throw std::invalid_argument("rows without numbers");
}

}  // namespace

std::size_t buffer_bytes(const RowWidths& widths, const Limits& limits) {
  check(widths, limits);
  const std::size_t most = kMaxBufferBytes / sizeof(float);
  // Divisions, since a product of such numbers could overflow.
  const bool has_room = widths.input <= most && widths.output <= most;
  const std::size_t accepted = has_room ? most / (widths.input + widths.output) : 0;
  if (limits.max_batch_rows > accepted) throw LimitFault("max_batch_rows", limits.max_batch_rows, accepted);
  return limits.max_batch_rows * (widths.input + widths.output) * sizeof(float);
}

std::size_t count_buffers(const RowWidths& widths, const Limits& limits) {
  const std::size_t affordable = limits.max_staging_bytes / buffer_bytes(widths, limits);
  // A row that does not fit opens the next buffer, so two neighbours are more than half full together.
  const std::size_t rows = std::max(limits.max_queue_rows, limits.max_request_rows);
  const std::size_t wanted = 2 * divide_up(rows, limits.max_batch_rows) + kLeastBuffers;
  const std::size_t count = std::max(kLeastBuffers, std::min(wanted, affordable));
  const std::size_t accepted = count * limits.max_batch_rows;
  if (limits.max_request_rows > accepted) throw LimitFault("max_request_rows", limits.max_request_rows, accepted);
  return count;
}

}  // namespace seqserve
