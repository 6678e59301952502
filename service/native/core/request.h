// A caller's rows, and where they lie. Everything here is guarded by the lock of the version.
#pragma once

#include <cstddef>
#include <exception>
#include <memory>
#include <vector>

#include "core/clock.h"
#include "core/outcome.h"

namespace seqserve {

class Buffer;

// Rows of one request that share a batch: 1 to max_batch_rows.
struct Piece {
  Buffer* buffer = nullptr;
  std::size_t offset = 0;
  std::size_t rows = 0;
  // The buffer may not be used anew while this stands.
  bool is_held = false;
  // In a sealed batch, but never to reach the model.
  bool is_void = false;
};

// settled: the writer has committed or gone; nobody writes into the rows any more.
// over: the outcome is decided or the caller has left; whoever sets it owns the answer.
struct Request {
  Request(std::size_t count, Time until, Time since) : rows(count), deadline(until), arrived(since) {}

  const std::size_t rows;
  const Time deadline;
  const Time arrived;
  std::vector<Piece> pieces;
  std::size_t unfinished = 0;
  bool is_settled = false;
  bool is_committed = false;
  bool is_over = false;
  Ending ending = Ending::answered;
  std::exception_ptr failure;
  Receipt receipt;
  Completion completion;
};

using RequestPtr = std::shared_ptr<Request>;

}  // namespace seqserve
