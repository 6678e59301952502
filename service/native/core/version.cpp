#include "core/version.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace seqserve {

std::shared_ptr<Version> Version::make(RowWidths widths, Limits limits, Engine engine, const Clock& clock,
                                       Memory memory) {
  return std::make_shared<Version>(Private{}, widths, limits, std::move(engine), clock, std::move(memory));
}

Version::Version(Private, RowWidths widths, Limits limits, Engine engine, const Clock& clock, Memory memory)
    : widths_(widths),
      limits_(limits),
      engine_(std::move(engine)),
      clock_(clock),
      staging_(widths, limits, std::move(memory)) {}

void Version::open() {
  const Lock lock(mutex_);
  is_open_ = true;
}

void Version::pause() {
  News news;
  Lock lock(mutex_);
  is_open_ = false;
  turn_away(Ending::not_ready, news);
  lock.unlock();
  tell(news);
}

void Version::close() {
  Lock lock(mutex_);
  is_closed_ = true;
  announce(std::move(lock));
}

void Version::abort() {
  News news;
  Lock lock(mutex_);
  is_closed_ = true;
  if (in_flight_ != nullptr) {
    for (const Entry& entry : in_flight_->entries) end(entry.request, Ending::shutting_down, news);
  }
  turn_away(Ending::shutting_down, news);
  lock.unlock();
  tell(news);
}

bool Version::wait_drained(Time most) {
  Lock lock(mutex_);
  return drained_.wait_for(lock, most, [this] { return staging_.is_empty() && !is_running_ && telling_ == 0; });
}

std::variant<Ticket, Refused> Version::reserve(std::size_t rows, Time deadline) {
  if (rows < 1 || rows > limits_.max_request_rows) {
    throw std::invalid_argument(std::to_string(rows) + " rows; accepted: 1 to " +
                                std::to_string(limits_.max_request_rows));
  }
  const Time now = clock_.now();
  auto request = std::make_shared<Request>(rows, deadline, now);
  Refused refused{Refusal::overloaded};
  {
    const Lock lock(mutex_);
    if (!refuses(rows, deadline, now, refused) && staging_.place(request)) {
      earliest_deadline_ = std::min(earliest_deadline_, deadline);
      counters_.admit(rows);
      return Ticket(shared_from_this(), std::move(request));
    }
  }
  counters_.refuse(refused.reason);
  return refused;
}

bool Version::refuses(std::size_t rows, Time deadline, Time now, Refused& refused) const {
  const Time estimate = pace_.estimate(staging_.waiting_rows());
  refused.retry_after = estimate;
  if (is_closed_) {
    refused.reason = Refusal::shutting_down;
  } else if (!is_open_ || is_overdue_) {
    refused.reason = Refusal::not_ready;
  } else if (deadline <= now) {
    refused.reason = Refusal::expired;
  } else {
    refused.reason = Refusal::overloaded;
    return staging_.waiting_rows() + rows > limits_.max_queue_rows || later(now, estimate) > deadline;
  }
  return true;
}

void Version::commit(const RequestPtr& request, Completion completion) {
  Lock lock(mutex_);
  staging_.settle(*request, /*is_committed=*/!request->is_over);
  written_.notify_all();
  request->completion = std::move(completion);
  if (!request->is_over) {
    note_newcomer(*request);
    announce(std::move(lock));
    return;
  }
  // It ended while its rows were written; now there is somebody to tell.
  staging_.withdraw(*request);
  ++telling_;
  lock.unlock();
  tell({request});
}

void Version::abandon(const RequestPtr& request) {
  Lock lock(mutex_);
  staging_.settle(*request, /*is_committed=*/false);
  written_.notify_all();
  // Also where it had ended meanwhile: there is nobody to tell, so it counts as one who left.
  request->is_over = true;
  counters_.leave(is_sealed(*request));
  staging_.withdraw(*request);
  drained_.notify_all();
  announce(std::move(lock));
}

bool Version::leave(const RequestPtr& request) {
  Completion unused;  // let go of without the lock: it may hold anything
  Lock lock(mutex_);
  if (request->is_over) return false;
  request->is_over = true;
  unused = std::move(request->completion);
  request->completion = nullptr;
  counters_.leave(is_sealed(*request));
  staging_.withdraw(*request);
  drained_.notify_all();
  lock.unlock();
  return true;
}

bool Version::is_sealed(const Request& request) {
  return std::any_of(request.pieces.begin(), request.pieces.end(), [](const Piece& piece) {
    return piece.is_held && piece.buffer->phase != Phase::gathering;
  });
}

// A newcomer who has no time for the delay lets the batch go at once.
void Version::note_newcomer(const Request& request) {
  if (staging_.is_empty()) return;
  const Time due = later(oldest_arrival(), limits_.max_queue_delay);
  is_pressing_ = is_pressing_ || request.deadline <= later(due, pace_.estimate(staging_.waiting_rows()));
}

// Decides a request's outcome, unless it is decided.
void Version::end(const RequestPtr& request, Ending ending, News& news) {
  if (request->is_over) return;
  request->is_over = true;
  request->ending = ending;
  if (!request->is_settled) return;  // told when its writer commits
  staging_.withdraw(*request);
  ++telling_;
  news.push_back(request);
}

void Version::turn_away(Ending ending, News& news) {
  for (const RequestPtr& request : staging_.waiting()) end(request, ending, news);
}

Time Version::sweep() {
  News news;
  Lock lock(mutex_);
  const Time now = clock_.now();
  if (earliest_deadline_ <= now) {
    earliest_deadline_ = kNever;
    for (const RequestPtr& request : staging_.waiting()) {
      if (request->deadline <= now) {
        end(request, Ending::expired, news);
      } else if (!request->is_over) {
        earliest_deadline_ = std::min(earliest_deadline_, request->deadline);
      }
    }
  }
  Time overdue = kNever;
  if (in_flight_ != nullptr && !is_overdue_) {
    overdue = later(in_flight_->sealed_at, limits_.max_batch_time);
    if (overdue <= now) {
      overdue = kNever;
      give_up(*in_flight_, news);
    }
  }
  const Time next = std::min(earliest_deadline_, overdue);
  lock.unlock();
  tell(news);
  return next;
}

// The engine does not answer in time: so does the version, to everybody it knows. The buffer stays with
// the engine's call until that ends.
void Version::give_up(Buffer& batch, News& news) {
  is_overdue_ = true;
  for (const Entry& entry : batch.entries) end(entry.request, Ending::overdue, news);
  turn_away(Ending::not_ready, news);
  counters_.overdue_batch();
}

// Tells each caller, then lets go of the buffers that hold its rows.
void Version::tell(const News& news) {
  if (news.empty()) return;
  for (const RequestPtr& request : news) {
    counters_.end(request->ending);
    const Completion completion = std::exchange(request->completion, nullptr);
    completion(outcome_of(*request));
  }
  const Lock lock(mutex_);
  for (const RequestPtr& request : news) {
    if (request->ending == Ending::answered) staging_.release(*request);
  }
  telling_ -= news.size();
  drained_.notify_all();
}

Outcome Version::outcome_of(const Request& request) const {
  Outcome outcome{request.ending, {}, request.receipt, request.message};
  if (request.ending == Ending::answered) {
    for (const Piece& piece : request.pieces) {
      outcome.parts.push_back({piece.buffer->output(piece.offset), piece.rows});
    }
  }
  return outcome;
}

Time Version::due() const {
  const Lock lock(mutex_);
  return due_at(clock_.now());
}

Time Version::due_at(Time now) const {
  if (is_running_ || staging_.is_empty() || staging_.oldest().committed_rows == 0) return kNever;
  const bool is_full = staging_.waiting_rows() >= limits_.max_batch_rows;
  if (is_full || is_pressing_ || is_closed_ || limits_.max_queue_delay == Time{0}) return now;
  return std::max(now, later(oldest_arrival(), limits_.max_queue_delay));
}

Time Version::oldest_arrival() const {
  Time oldest = kNever;
  for (const Entry& entry : staging_.oldest().entries) oldest = std::min(oldest, entry.request->arrived);
  return oldest;
}

void Version::announce(Lock lock) {
  const Time due = due_at(clock_.now());
  if (due >= announced_) return;
  announced_ = asked_ = due;
  lock.unlock();
  if (listener_) listener_(shared_from_this(), due);
}

std::size_t Version::waiting_rows() const {
  const Lock lock(mutex_);
  return staging_.waiting_rows();
}

std::size_t Version::buffers_in_use() const {
  const Lock lock(mutex_);
  return staging_.buffers_in_use();
}

}  // namespace seqserve
