// The life of a batch: sealed, written, freed of gaps, computed, split. See version.h.
#include <algorithm>
#include <utility>

#include "core/version.h"

namespace seqserve {

bool Version::run_next() {
  News news;
  Buffer* batch = seal(news);
  tell(news);
  if (batch == nullptr) return false;
  finish(*batch, compute(*batch));
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
    const Time begun = clock_.now();
    Buffer& batch = staging_.seal(begun);
    in_flight_ = &batch;
    drop_late(batch, news);
    written_.wait(lock, [&batch] { return batch.unwritten == 0; });
    std::vector<Move> moves = staging_.close_gaps(batch);
    batch.sealed_at = clock_.now();
    refill(batch, moves, news);
    if (batch.used_rows > 0) {
      ledger_->start(flush_reason(batch), batch.used_rows);
      move_rows(batch, moves, std::move(lock));
      batch.times.assembly = clock_.now() - begun;
      return &batch;
    }
    in_flight_ = nullptr;
    is_running_ = false;
    if (std::exchange(is_overdue_, false)) recover(clock_.now() - batch.sealed_at, nullptr);
    staging_.discard(batch);
  }
  drained_.notify_all();
  return nullptr;
}

// Whoever left or is late when the batch is sealed does not reach the model.
void Version::drop_late(Buffer& batch, News& news) {
  for (const Entry& entry : batch.entries) {
    Request& request = *entry.request;
    if (!request.is_over && request.deadline <= batch.sealed_at) {
      // One that is still being written counts with all its rows when it ends.
      if (request.is_committed) ledger_->drop(Drop::expired, entry.piece().rows);
      end(entry.request, Ending::expired, news);
    }
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

Flush Version::flush_reason(const Buffer& batch) const {
  if (!staging_.is_empty() || batch.used_rows == limits_.max_batch_rows) return Flush::full;
  if (is_closed_) return Flush::drain;
  return limits_.max_queue_delay > Time{0} ? Flush::delay : Flush::idle;
}

void Version::move_rows(Buffer& batch, const std::vector<Move>& moves, Lock lock) {
  if (moves.empty()) return;
  lock.unlock();
  staging_.move_rows(batch, moves);
  lock.lock();
  staging_.end_moves(batch, moves);
}

// What the engine threw, or null.
std::exception_ptr Version::compute(Buffer& batch) const {
  const Time begun = clock_.now();
  std::exception_ptr failure;
  try {
    engine_(batch.input(0), batch.used_rows, batch.output(0));
  } catch (...) {
    failure = std::current_exception();
  }
  batch.times.compute = clock_.now() - begun;
  return failure;
}

void Version::finish(Buffer& batch, const std::exception_ptr& failure) {
  News news;
  Lock lock(mutex_);
  const Time now = clock_.now();
  note_end(batch, failure, now);
  // Out of the buffer, which may be given to others before the last of them is looked at.
  std::vector<Entry> entries = std::move(batch.entries);
  batch.entries.clear();
  batch.phase = Phase::computed;
  in_flight_ = nullptr;
  is_running_ = false;
  if (failure != nullptr) {
    for (const Entry& entry : entries) {
      if (!entry.request->is_over) entry.request->failure = failure;
      end(entry.request, Ending::engine_failed, news);
    }
  }
  const std::size_t rows = batch.used_rows;
  BatchTimes times = batch.times;
  split(batch, entries, now, news);
  times.split = clock_.now() - now;
  if (failure == nullptr) ledger_->compute(rows, times);
  drained_.notify_all();
  announce(std::move(lock));
  tell(news);
}

void Version::note_end(Buffer& batch, const std::exception_ptr& failure, Time now) {
  quickness_.measure(batch.used_rows, now - batch.sealed_at);
  if (std::exchange(is_overdue_, false)) {
    recover(now - batch.sealed_at, failure);
  } else if (failure != nullptr) {
    ledger_->fail();
    if (observer_ != nullptr) observer_->failed(batch.used_rows, failure);
  } else {
    // The wait for a thread counts: where models share one, it is part of this one's pace.
    pace_.measure(now - std::min(asked_, batch.sealed_at), batch.used_rows);
  }
}

void Version::recover(Time computed, const std::exception_ptr& failure) {
  ledger_->recover();
  if (observer_ != nullptr) observer_->recovered(computed, failure);
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
