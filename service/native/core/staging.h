// The staging buffers of one version, and the queue that they are: whoever waits has its rows in one.
//
// Knows neither locks nor time nor outcomes; the version calls it under its lock.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <vector>

#include "core/buffer.h"
#include "core/limits.h"
#include "core/memory.h"
#include "core/request.h"

namespace seqserve {

// Rows that are to lie in a batch from `to` on, and lie in this buffer, the batch's own or a later one.
struct Move {
  Buffer* buffer;
  std::size_t from;
  std::size_t to;
  std::size_t rows;
};

class Staging {
 public:
  // Throws std::invalid_argument for limits that cannot hold.
  Staging(const RowWidths& widths, const Limits& limits, Memory memory);

  // Gives a request room, in one buffer or several, behind all who came before; false where there is none.
  bool place(const RequestPtr& request);

  // The writer is done with the rows. is_committed: they may reach the model.
  void settle(Request& request, bool is_committed);

  // Takes a settled request out of what still gathers, and lets go of what is computed. What is sealed
  // stays until its batch is done, but does not reach the model where it was never committed.
  void withdraw(Request& request);

  // Takes the oldest batch out of the queue; nobody joins it or leaves it from here on.
  Buffer& seal(Time now);

  // Forgets void pieces and gives the others new places; the rows are still to be moved.
  std::vector<Move> close_gaps(Buffer& batch);

  // Who waits longest behind the sealed batch; nullptr where nobody does.
  const Entry* next() const;
  // Takes `next()` into a sealed batch without gaps that has room for it; the rows are still to be moved.
  Move transfer(Buffer& batch);
  bool has_room(const Buffer& batch, std::size_t rows) const { return capacity_ - batch.used_rows >= rows; }

  // Needs no lock: nobody else touches the rows until `end_moves`.
  void move_rows(Buffer& batch, const std::vector<Move>& moves) const;
  void end_moves(const Buffer& batch, const std::vector<Move>& moves);

  void release(Piece& piece);
  void release(Request& request);

  // A sealed batch in which nobody is left.
  void discard(Buffer& batch);

  bool is_empty() const { return queue_.empty(); }
  // The oldest batch that gathers; there is one unless is_empty().
  const Buffer& oldest() const { return *queue_.front(); }
  std::size_t waiting_rows() const { return waiting_rows_; }
  std::size_t buffers_in_use() const { return buffers_.size() - count_free(); }
  std::size_t max_buffers() const { return max_buffers_; }
  // That all of them take together.
  std::size_t max_bytes() const { return max_buffers_ * capacity_ * (widths_.input + widths_.output) * sizeof(float); }

  // Everybody who waits and is not sealed, in order; a request in several buffers comes several times.
  std::vector<RequestPtr> waiting() const;

 private:
  std::vector<std::size_t> cut(std::size_t rows) const;
  std::size_t buffers_needed(const std::vector<std::size_t>& parts) const;
  std::size_t count_free() const { return free_first_.size() + free_later_.size(); }
  bool provide(std::size_t count);
  Buffer& with_room(std::size_t rows);
  void remove(Buffer& buffer, const Piece& piece);
  void fill_gap(Buffer& buffer, std::size_t gap);
  void let_go(Buffer& buffer);
  void recycle(Buffer& buffer);

  const RowWidths widths_;
  const std::size_t capacity_;
  const std::size_t max_buffers_;
  const Memory memory_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  // Those that there were from the beginning, whose memory may be better than others', and those that came later.
  std::vector<Buffer*> free_first_;
  std::vector<Buffer*> free_later_;
  std::deque<Buffer*> queue_;
  std::size_t waiting_rows_ = 0;
};

}  // namespace seqserve
