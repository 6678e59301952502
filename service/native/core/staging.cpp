#include "core/staging.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace seqserve {

namespace {

// Rows are moved under the lock where a gap is filled at once, so only what takes well below 10 µs.
constexpr std::size_t kMostMovedBytes = std::size_t{64} << 10;

}  // namespace

Staging::Staging(const RowWidths& widths, const Limits& limits, Memory memory)
    : widths_(widths),
      capacity_(limits.max_batch_rows),
      max_buffers_(count_buffers(widths, limits)),
      memory_(std::move(memory)) {
  // All that may ever be there, so that neither a reservation nor a release has to grow them.
  buffers_.reserve(max_buffers_);
  free_first_.reserve(kLeastBuffers);
  free_later_.reserve(max_buffers_);
  for (std::size_t index = 0; index < kLeastBuffers; ++index) {
    buffers_.push_back(std::make_unique<Buffer>(widths_, capacity_, memory_, /*is_first=*/true));
    free_first_.push_back(buffers_.back().get());
  }
}

bool Staging::place(const RequestPtr& request) {
  const std::vector<std::size_t> parts = cut(request->rows);
  if (!provide(buffers_needed(parts))) return false;
  request->pieces.reserve(parts.size());
  for (const std::size_t rows : parts) {
    Buffer& buffer = with_room(rows);
    request->pieces.push_back({&buffer, buffer.used_rows, rows, /*is_held=*/true, /*is_void=*/false});
    buffer.entries.push_back({request, request->pieces.size() - 1});
    buffer.used_rows += rows;
    buffer.held_rows += rows;
    ++buffer.unwritten;
    ++buffer.holders;
    waiting_rows_ += rows;
  }
  request->unfinished = parts.size();
  return true;
}

void Staging::settle(Request& request, bool is_committed) {
  request.is_settled = true;
  request.is_committed = is_committed;
  for (Piece& piece : request.pieces) {
    --piece.buffer->unwritten;
    if (is_committed) piece.buffer->committed_rows += piece.rows;
  }
}

void Staging::withdraw(Request& request) {
  for (Piece& piece : request.pieces) {
    if (!piece.is_held) continue;
    Buffer& buffer = *piece.buffer;
    if (buffer.phase == Phase::sealed) {
      piece.is_void = piece.is_void || !request.is_committed;
      continue;
    }
    if (buffer.phase == Phase::gathering) {
      if (request.is_committed) buffer.committed_rows -= piece.rows;
      remove(buffer, piece);
    }
    release(piece);
  }
}

Buffer& Staging::seal(Time now) {
  Buffer& batch = *queue_.front();
  queue_.pop_front();
  batch.phase = Phase::sealed;
  batch.sealed_at = now;
  waiting_rows_ -= batch.held_rows;
  return batch;
}

std::vector<Move> Staging::close_gaps(Buffer& batch) {
  std::vector<Move> moves;
  std::vector<Entry> kept;
  kept.reserve(batch.entries.size());
  std::size_t end = 0;
  for (Entry& entry : batch.entries) {
    Piece& piece = entry.piece();
    if (piece.is_void) {
      // Not release(): the batch itself still stands, even where nobody is left in it.
      piece.is_held = false;
      --batch.holders;
      continue;
    }
    if (piece.offset != end) moves.push_back({&batch, piece.offset, end, piece.rows});
    piece.offset = end;
    end += piece.rows;
    kept.push_back(std::move(entry));
  }
  batch.entries = std::move(kept);
  batch.used_rows = end;
  return moves;
}

const Entry* Staging::next() const {
  for (const Buffer* buffer : queue_) {
    if (!buffer->entries.empty()) return &buffer->entries.front();
  }
  return nullptr;
}

Move Staging::transfer(Buffer& batch) {
  Entry entry = *next();
  Piece& piece = entry.piece();
  Buffer& source = *piece.buffer;
  const Move move{&source, piece.offset, batch.used_rows, piece.rows};
  source.entries.erase(source.entries.begin());
  source.held_rows -= piece.rows;
  source.committed_rows -= piece.rows;
  source.copied_rows = piece.offset + piece.rows;
  waiting_rows_ -= piece.rows;
  // The source is held as before, now by the move.
  piece.buffer = &batch;
  piece.offset = batch.used_rows;
  batch.used_rows += piece.rows;
  ++batch.holders;
  batch.entries.push_back(std::move(entry));
  return move;
}

void Staging::move_rows(Buffer& batch, const std::vector<Move>& moves) const {
  for (const Move& move : moves) {
    std::memmove(batch.input(move.to), move.buffer->input(move.from), move.rows * widths_.input * sizeof(float));
  }
}

void Staging::end_moves(const Buffer& batch, const std::vector<Move>& moves) {
  for (const Move& move : moves) {
    if (move.buffer == &batch) continue;
    move.buffer->copied_rows = 0;
    let_go(*move.buffer);
  }
}

void Staging::release(Piece& piece) {
  if (!piece.is_held) return;
  piece.is_held = false;
  let_go(*piece.buffer);
}

void Staging::release(Request& request) {
  for (Piece& piece : request.pieces) release(piece);
}

void Staging::discard(Buffer& batch) {
  batch.phase = Phase::computed;
  if (batch.holders == 0) recycle(batch);
}

std::vector<RequestPtr> Staging::waiting() const {
  std::vector<RequestPtr> requests;
  for (const Buffer* buffer : queue_) {
    for (const Entry& entry : buffer->entries) requests.push_back(entry.request);
  }
  return requests;
}

std::vector<std::size_t> Staging::cut(std::size_t rows) const {
  std::vector<std::size_t> parts(rows / capacity_, capacity_);
  if (rows % capacity_ != 0) parts.push_back(rows % capacity_);
  return parts;
}

std::size_t Staging::buffers_needed(const std::vector<std::size_t>& parts) const {
  std::size_t room = queue_.empty() ? 0 : capacity_ - queue_.back()->used_rows;
  std::size_t needed = 0;
  for (const std::size_t rows : parts) {
    if (rows > room) {
      ++needed;
      room = capacity_;
    }
    room -= rows;
  }
  return needed;
}

// So many free buffers, before anything is placed: a request gets all of its room or none.
bool Staging::provide(std::size_t count) {
  if (count > count_free() + (max_buffers_ - buffers_.size())) return false;
  try {
    while (count_free() < count) {
      buffers_.push_back(std::make_unique<Buffer>(widths_, capacity_, memory_, /*is_first=*/false));
      free_later_.push_back(buffers_.back().get());
    }
  } catch (const std::bad_alloc&) {
    return false;
  }
  return true;
}

Buffer& Staging::with_room(std::size_t rows) {
  if (!queue_.empty() && capacity_ - queue_.back()->used_rows >= rows) return *queue_.back();
  // The one that was used last: its memory is still in the caches.
  std::vector<Buffer*>& free = free_first_.empty() ? free_later_ : free_first_;
  queue_.push_back(free.back());
  free.pop_back();
  return *queue_.back();
}

void Staging::remove(Buffer& buffer, const Piece& piece) {
  const auto found = std::find_if(buffer.entries.begin(), buffer.entries.end(),
                                  [&piece](const Entry& entry) { return &entry.piece() == &piece; });
  const auto gap = static_cast<std::size_t>(found - buffer.entries.begin());
  buffer.held_rows -= piece.rows;
  waiting_rows_ -= piece.rows;
  fill_gap(buffer, gap);
}

// The last piece takes the place of the one that goes, or the gap waits until the batch is sealed.
void Staging::fill_gap(Buffer& buffer, std::size_t gap) {
  const Piece& gone = buffer.entries[gap].piece();
  const Entry& last = buffer.entries.back();
  const bool is_last = gap + 1 == buffer.entries.size();
  const std::size_t bytes = gone.rows * widths_.input * sizeof(float);
  // Nobody moves rows that are still being written.
  const bool can_move = last.request->is_settled && last.piece().rows == gone.rows && bytes <= kMostMovedBytes;
  if (!is_last && !can_move) {
    buffer.entries.erase(buffer.entries.begin() + static_cast<std::ptrdiff_t>(gap));
    return;
  }
  if (!is_last) {
    std::memcpy(buffer.input(gone.offset), buffer.input(last.piece().offset), bytes);
    last.piece().offset = gone.offset;
    buffer.entries[gap] = last;
  }
  buffer.entries.pop_back();
  buffer.used_rows = buffer.entries.empty() ? buffer.copied_rows
                                            : buffer.entries.back().piece().offset + buffer.entries.back().piece().rows;
}

void Staging::let_go(Buffer& buffer) {
  if (--buffer.holders == 0 && buffer.phase != Phase::sealed) recycle(buffer);
}

void Staging::recycle(Buffer& buffer) {
  if (buffer.phase == Phase::gathering) queue_.erase(std::find(queue_.begin(), queue_.end(), &buffer));
  buffer.phase = Phase::gathering;
  buffer.entries.clear();
  buffer.used_rows = buffer.held_rows = buffer.committed_rows = 0;
  (buffer.is_first ? free_first_ : free_later_).push_back(&buffer);
}

}  // namespace seqserve
