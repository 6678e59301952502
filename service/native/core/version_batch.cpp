// The life of a batch: sealed, written, freed of gaps, computed, split. See version.h.
#include <algorithm>
#include <exception>
#include <utility>

#include "core/version.h"

namespace seqserve {

bool Version::run_next() {
  News news;
  Buffer* batch = seal(news);
  tell(news);
  if (batch == nullptr) return false;
  counters_.start_batch(batch->used_rows);
  std::string error;
  const bool has_failed = !compute(*batch, error);
  finish(*batch, has_failed, error);
  return true;
}

// The next batch, complete and without gaps, or none.
Buffer* Version::seal(News& news) {
  Lock lock(mutex_);
  announced_ = kNever;
  const Time now = clock_.now();
  if (due_at(now) > now) {
    announce(std::move(lock));
    return nullptr;
  }
  while (!staging_.is_empty() && staging_.oldest().committed_rows > 0) {
    is_running_ = true;
    is_pressing_ = false;
    Buffer& batch = staging_.seal(clock_.now());
    in_flight_ = &batch;
    drop_late(batch, news);
    written_.wait(lock, [&batch] { return batch.unwritten == 0; });
    std::vector<Move> moves = staging_.close_gaps(batch);
    batch.sealed_at = clock_.now();
    refill(batch, moves, news);
    if (batch.used_rows > 0) {
      move_rows(batch, moves, std::move(lock));
      return &batch;
    }
    in_flight_ = nullptr;
    is_running_ = false;
    if (std::exchange(is_overdue_, false)) counters_.recover_batch();
    staging_.discard(batch);
  }
  drained_.notify_all();
  return nullptr;
}

// Whoever left or is late when the batch is sealed does not reach the model.
void Version::drop_late(Buffer& batch, News& news) {
  for (const Entry& entry : batch.entries) {
    Request& request = *entry.request;
    if (!request.is_over && request.deadline <= batch.sealed_at) end(entry.request, Ending::expired, news);
    if (request.is_over) entry.piece().is_void = true;
  }
}

// The room of those who left is for the next who wait; otherwise batches would shrink just when callers give up.
void Version::refill(Buffer& batch, std::vector<Move>& moves, News& news) {
  while (const Entry* next = staging_.next()) {
    const RequestPtr request = next->request;
    if (!request->is_committed) return;  // nobody moves rows that are still being written
    if (request->deadline <= batch.sealed_at) {
      end(request, Ending::expired, news);
      continue;
    }
    if (!staging_.has_room(batch, next->piece().rows)) return;
    moves.push_back(staging_.transfer(batch));
  }
}

void Version::move_rows(Buffer& batch, const std::vector<Move>& moves, Lock lock) {
  if (moves.empty()) return;
  lock.unlock();
  staging_.move_rows(batch, moves);
  lock.lock();
  staging_.end_moves(batch, moves);
}

bool Version::compute(Buffer& batch, std::string& error) const {
  try {
    engine_(batch.input(0), batch.used_rows, batch.output(0));
    return true;
  } catch (const std::exception& caught) {
    error = caught.what();
  } catch (...) {
    error = "the engine failed without a word";
  }
  return false;
}

void Version::finish(Buffer& batch, bool has_failed, const std::string& error) {
  News news;
  Lock lock(mutex_);
  const Time now = clock_.now();
  counters_.finish_batch(now - batch.sealed_at);
  if (has_failed) counters_.fail_batch();
  if (std::exchange(is_overdue_, false)) {
    counters_.recover_batch();
  } else if (!has_failed) {
    // The wait for a thread counts: where models share one, it is part of this one's pace.
    pace_.measure(now - std::min(asked_, batch.sealed_at), batch.used_rows);
  }
  // Out of the buffer, which may be given to others before the last of them is looked at.
  std::vector<Entry> entries = std::move(batch.entries);
  batch.entries.clear();
  batch.phase = Phase::computed;
  in_flight_ = nullptr;
  is_running_ = false;
  if (has_failed) {
    for (const Entry& entry : entries) {
      if (!entry.request->is_over) entry.request->message = error;
      end(entry.request, Ending::engine_failed, news);
    }
  }
  split(batch, entries, now, news);
  drained_.notify_all();
  announce(std::move(lock));
  tell(news);
}

// Takes each piece off its request, and lets go of those that nobody waits for.
void Version::split(Buffer& batch, std::vector<Entry>& entries, Time now, News& news) {
  for (const Entry& entry : entries) {
    Request& request = *entry.request;
    if (request.is_over) {
      staging_.release(entry.piece());
      continue;
    }
    request.receipt.queued = std::max(request.receipt.queued, batch.sealed_at - request.arrived);
    request.receipt.computed += now - batch.sealed_at;
    request.receipt.batch_rows = std::max(request.receipt.batch_rows, batch.used_rows);
    if (--request.unfinished > 0) continue;
    request.is_over = true;
    request.ending = Ending::answered;
    ++telling_;
    news.push_back(entry.request);
  }
}

}  // namespace seqserve
