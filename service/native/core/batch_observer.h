// Hears of batches that go wrong.
#pragma once

#include <cstddef>
#include <exception>

#include "core/clock.h"

namespace seqserve {

// In the order in which it happens, on any thread and under the version's lock: what it does is to take
// little time, and may neither throw nor call the version.
class BatchObserver {
 public:
  virtual ~BatchObserver() = default;

  // The batch has no answer.
  virtual void failed(std::size_t rows, const std::exception_ptr& failure) = 0;
  // The engine has had max_batch_time: the batch's callers, and all who waited, are being answered.
  virtual void overdue(std::size_t rows) = 0;
  // The engine's call for an overdue batch has ended after all, after so long. failure: null for results.
  virtual void recovered(Time computed, const std::exception_ptr& failure) = 0;
};

}  // namespace seqserve
