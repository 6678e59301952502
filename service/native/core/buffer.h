// One staging buffer: the rows of one batch, and what the engine makes of them.
#pragma once

#include <cstddef>
#include <vector>

#include "core/batch_ledger.h"
#include "core/limits.h"
#include "core/memory.h"
#include "core/request.h"

namespace seqserve {

enum class Phase { gathering, sealed, computed };

// A piece of a request, by its index.
struct Entry {
  RequestPtr request;
  std::size_t index;

  Piece& piece() const { return request->pieces[index]; }
};

// Leased from the first reservation to the last reply: `holders` counts the pieces that hold it.
class Buffer {
 public:
  Buffer(const RowWidths& widths, std::size_t capacity, const Memory& memory, bool is_first_)
      : is_first(is_first_),
        widths_(widths),
        input_(memory(capacity * (widths.input + widths.output))),
        output_(input_.get() + capacity * widths.input) {}

  float* input(std::size_t row) const { return input_.get() + row * widths_.input; }
  float* output(std::size_t row) const { return output_ + row * widths_.output; }

  // Made with the version, and not when the others were in use.
  const bool is_first;
  Phase phase = Phase::gathering;
  // By offset. Rows up to used_rows are given out, gaps of callers who left among them.
  std::vector<Entry> entries;
  std::size_t used_rows = 0;
  std::size_t held_rows = 0;
  std::size_t committed_rows = 0;
  std::size_t unwritten = 0;
  std::size_t holders = 0;
  // Rows below are being copied into the batch before, and are not given out anew.
  std::size_t copied_rows = 0;
  Time sealed_at{0};
  Flush reason = Flush::idle;
  BatchTimes times;

 private:
  RowWidths widths_;
  Floats input_;
  float* output_;
};

}  // namespace seqserve
