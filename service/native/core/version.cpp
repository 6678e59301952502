#include "core/version.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace seqserve {

namespace {

Drop cause_of(Ending ending) {
  switch (ending) {
    case Ending::answered: break;  // nothing of it waits
    case Ending::engine_failed: return Drop::failed;
    case Ending::expired: return Drop::expired;
    case Ending::overdue:
    case Ending::stuck: return Drop::overdue;
    case Ending::away: return Drop::away;
    case Ending::closing: return Drop::aborted;
  }
  return Drop::departed;
}

}  // namespace

std::shared_ptr<Version> Version::make(RowWidths widths, Limits limits, Engine engine, const Clock& clock,
                                       Memory memory) {
  return std::make_shared<Version>(Private{}, widths, limits, std::move(engine), clock, std::move(memory));
}

Version::Version(Private, RowWidths widths, Limits limits, Engine engine, const Clock& clock, Memory memory)
    : widths_(widths),
      limits_(limits),
      engine_(std::move(engine)),
      clock_(clock),
      ledger_(std::make_shared<BatchLedger>(std::vector<std::uint64_t>{}, std::vector<std::uint64_t>{})),
      staging_(widths, limits, std::move(memory)) {}

void Version::open() {
  const Lock lock(mutex_);
  is_open_ = true;
}

void Version::pause() {
  News news;
  Lock lock(mutex_);
  is_open_ = false;
  turn_away(Ending::away, news);
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
    for (const Entry& entry : in_flight_->entries) end(entry.request, Ending::closing, news);
  }
  turn_away(Ending::closing, news);
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
  const Lock lock(mutex_);
  if (const std::optional<Refusal> reason = refusal(rows, deadline, now)) return refuse(*reason, rows);
  if (!staging_.place(request)) return refuse(Refusal::full, rows, /*lacks_memory=*/true);
  earliest_deadline_ = std::min(earliest_deadline_, deadline);
  return Ticket(shared_from_this(), std::move(request));
}

std::optional<Refused> Version::check(std::size_t rows, Time deadline) {
  const Time now = clock_.now();
  const Lock lock(mutex_);
  const std::optional<Refusal> reason = refusal(rows, deadline, now);
  return reason ? std::optional(refuse(*reason, rows)) : std::nullopt;
}

std::optional<Refusal> Version::refusal(std::size_t rows, Time deadline, Time now) const {
  if (is_closed_) return Refusal::closing;
  if (is_overdue_) return Refusal::overdue;
  if (!is_open_) return Refusal::away;
  if (deadline <= now) return Refusal::expired;
  if (staging_.waiting_rows() + rows > limits_.max_queue_rows) return Refusal::full;
  if (later(now, pace_.estimate(staging_.waiting_rows())) > deadline) return Refusal::deadline;
  return std::nullopt;
}

Refused Version::refuse(Refusal reason, std::size_t rows, bool lacks_memory) const {
  ledger_->refuse(reason, rows);
  Refused refused{reason, staging_.waiting_rows()};
  if (lacks_memory) refused.memory_bytes = staging_.max_bytes();
  const Time estimate = pace_.estimate(refused.waiting_rows);
  const bool is_of_queue = reason == Refusal::full || reason == Refusal::deadline;
  if (is_of_queue && estimate > Time{0}) refused.retry_after = estimate;
  return refused;
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
  // It ended while its rows were written; now there is somebody to tell, and who waited behind it may be due.
  staging_.withdraw(*request);
  ++telling_;
  announce(std::move(lock));
  tell({request});
}

void Version::abandon(const RequestPtr& request) {
  Lock lock(mutex_);
  staging_.settle(*request, /*is_committed=*/false);
  written_.notify_all();
  // Also where it had ended meanwhile: there is nobody to tell.
  if (!std::exchange(request->is_over, true)) ledger_->drop(Drop::departed, unreached_rows(*request));
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
  ledger_->drop(request->deadline <= clock_.now() ? Drop::expired : Drop::departed, unreached_rows(*request));
  staging_.withdraw(*request);
  drained_.notify_all();
  lock.unlock();
  return true;
}

// Rows that would not reach the model if the request ended now.
std::size_t Version::unreached_rows(const Request& request) {
  std::size_t rows = 0;
  for (const Piece& piece : request.pieces) {
    const bool is_bound = piece.buffer->phase != Phase::gathering && request.is_committed;
    if (piece.is_held && !is_bound) rows += piece.rows;
  }
  return rows;
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
  ledger_->drop(cause_of(ending), unreached_rows(*request));
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
  turn_away(Ending::stuck, news);
  ledger_->overdue();
  if (observer_ != nullptr) observer_->overdue(batch.used_rows);
}

// Tells each caller, then lets go of the buffers that hold its rows.
void Version::tell(const News& news) {
  if (news.empty()) return;
  // A completion may let go of the last hold that anybody else has.
  const VersionPtr keep = shared_from_this();
  for (const RequestPtr& request : news) {
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
  Outcome outcome{request.ending, {}, request.receipt, request.failure};
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

bool Version::is_quick() const {
  if (!runs_anywhere_) return false;
  const Lock lock(mutex_);
  return quickness_.is_proved(std::min(staging_.waiting_rows(), limits_.max_batch_rows));
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
