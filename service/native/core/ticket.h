// A caller's hold on its reservation: write the rows, commit, and leave at any time.
#pragma once

#include <cstddef>
#include <memory>

#include "core/outcome.h"
#include "core/request.h"

namespace seqserve {

class Version;

// Where some of the caller's rows are to be written: [count, input width].
struct Slot {
  float* numbers;
  std::size_t count;
};

// Goes with its caller: a ticket that is let go before it was committed gives the room back. One that was
// committed may be let go; the completion comes all the same.
//
// One thread reserves, writes and commits; any thread may leave after that.
class Ticket {
 public:
  Ticket(std::shared_ptr<Version> version, RequestPtr request);
  Ticket(Ticket&&) = default;
  Ticket& operator=(Ticket&&) = delete;
  Ticket(const Ticket&) = delete;
  Ticket& operator=(const Ticket&) = delete;
  ~Ticket();

  // The rows in order; more than one slot where the request travels in several batches.
  std::size_t slots() const;
  Slot slot(std::size_t index) const;

  // Copies all rows from where they lie behind each other, FP32 at any alignment.
  void write(const void* rows) const;

  // The rows are written. The completion may come before this returns: where the request ended while it
  // was being written, on this very thread. Once.
  void commit(Completion completion);

  // True: the completion will not come any more. False: it has come or is on its way.
  bool leave();

 private:
  std::shared_ptr<Version> version_;
  RequestPtr request_;
  bool is_committed_ = false;
};

}  // namespace seqserve
