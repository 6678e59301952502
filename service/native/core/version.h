// One version of a model: who may wait for it, what is sealed into a batch, and who hears of it.
//
// The micro-batcher of the native front. An idle engine starts at once; while it is busy the next batch
// gathers in a staging buffer. A caller that leaves, or whose deadline passes, is taken out while it waits,
// and is computed and discarded once its batch is sealed. Everybody who was admitted hears once.
//
// It has no thread of its own: `run_next` runs one batch on the thread that calls it (see runners.h), and
// `sweep` looks after deadlines and batches that take too long (see watch.h). Neither the engine nor a
// completion is ever called under the lock, so both may call the version.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <variant>
#include <vector>

#include "core/batch_ledger.h"
#include "core/batch_observer.h"
#include "core/clock.h"
#include "core/engine.h"
#include "core/limits.h"
#include "core/outcome.h"
#include "core/pace.h"
#include "core/quickness.h"
#include "core/request.h"
#include "core/staging.h"
#include "core/ticket.h"

namespace seqserve {

// Callers may leave at any time: tickets hold the version, and so its buffers, for as long as they need it.
class Version : public std::enable_shared_from_this<Version> {
  struct Private {};

 public:
  // Hears when a batch is due; called on any thread, with no lock held.
  using Listener = std::function<void(const std::shared_ptr<Version>& version, Time due)>;

  // Throws std::invalid_argument for limits that cannot hold. It takes nothing until `open`.
  static std::shared_ptr<Version> make(RowWidths widths, Limits limits, Engine engine, const Clock& clock,
                                       Memory memory = host_memory);
  Version(Private, RowWidths widths, Limits limits, Engine engine, const Clock& clock, Memory memory);

  // Before anybody reserves: each batch ends by itself, and may run on a thread that others need, see is_quick.
  void run_anywhere() { runs_anywhere_ = true; }
  // Whether whoever brings the batch that is due now had better compute it than hand it over.
  bool is_quick() const;

  // Before anybody reserves.
  void listen(Listener listener) { listener_ = std::move(listener); }
  // What counts from now on, and who hears of batches. Before anybody reserves.
  void count_in(std::shared_ptr<BatchLedger> ledger) { ledger_ = std::move(ledger); }
  void observe(std::shared_ptr<BatchObserver> observer) { observer_ = std::move(observer); }

  // The engine is there, or back.
  void open();
  // The engine is away: who waits hears `away`, and who comes is refused. A batch in flight is left to
  // the engine's own answer.
  void pause();
  // Takes nothing new; what is admitted is still computed.
  void close();
  // Takes nothing new, and everybody who has no answer hears `closing` now.
  void abort();
  // Whether everybody has been answered and nothing runs, within that time.
  bool wait_drained(Time most);

  // What `reserve` would refuse now; counted as if it had.
  std::optional<Refused> check(std::size_t rows, Time deadline);

  // Room for so many rows, 1 to max_request_rows; std::invalid_argument otherwise. Between this and the
  // ticket's commit there is to be no more than the copy, since a batch waits for all of its writers.
  std::variant<Ticket, Refused> reserve(std::size_t rows, Time deadline = kNever);

  // Seals the oldest batch where one is due, runs it and answers its callers. False where none is, or
  // where another thread runs one: a version has one batch in flight.
  bool run_next();

  // When `run_next` has something to do; kNever while nobody waits or a batch is in flight.
  Time due() const;

  // Answers those whose deadline has passed, and gives up a batch that has been computed for too long.
  // Returns when it wants to be called again; kNever while there is nothing to look after.
  Time sweep();

  const BatchLedger& ledger() const { return *ledger_; }
  const RowWidths& widths() const { return widths_; }
  const Limits& limits() const { return limits_; }
  std::size_t waiting_rows() const;
  std::size_t buffers_in_use() const;
  std::size_t max_buffers() const { return staging_.max_buffers(); }

 private:
  friend class Ticket;
  using Lock = std::unique_lock<std::mutex>;

  // Outcomes that were decided under the lock and are told without it.
  using News = std::vector<RequestPtr>;

  void commit(const RequestPtr& request, Completion completion);
  void abandon(const RequestPtr& request);
  bool leave(const RequestPtr& request);

  std::optional<Refusal> refusal(std::size_t rows, Time deadline, Time now) const;
  Refused refuse(Refusal reason, std::size_t rows, bool lacks_memory = false) const;
  static std::size_t unreached_rows(const Request& request);
  Flush flush_reason(const Buffer& batch) const;
  void note_newcomer(const Request& request);
  Buffer* seal(News& news);
  void drop_late(Buffer& batch, News& news);
  void refill(Buffer& batch, std::vector<Move>& moves, News& news);
  void move_rows(Buffer& batch, const std::vector<Move>& moves, Lock lock);
  std::exception_ptr compute(Buffer& batch) const;
  void finish(Buffer& batch, const std::exception_ptr& failure);
  void note_end(Buffer& batch, const std::exception_ptr& failure, Time now);
  void recover(Time computed, const std::exception_ptr& failure);
  void split(Buffer& batch, std::vector<Entry>& entries, Time now, News& news);
  void end(const RequestPtr& request, Ending ending, News& news);
  void turn_away(Ending ending, News& news);
  void give_up(Buffer& batch, News& news);
  void tell(const News& news);
  Outcome outcome_of(const Request& request) const;
  Time due_at(Time now) const;
  Time oldest_arrival() const;
  // Unlocks, and tells the listener where a batch has become due or is due sooner.
  void announce(Lock lock);

  const RowWidths widths_;
  const Limits limits_;
  const Engine engine_;
  const Clock& clock_;
  Listener listener_;
  std::shared_ptr<BatchLedger> ledger_;
  std::shared_ptr<BatchObserver> observer_;

  mutable std::mutex mutex_;
  std::condition_variable written_;
  std::condition_variable drained_;
  Staging staging_;
  Pace pace_;
  Quickness quickness_;
  Buffer* in_flight_ = nullptr;
  std::size_t telling_ = 0;
  Time announced_ = kNever;
  Time asked_ = kNever;
  Time earliest_deadline_ = kNever;
  bool runs_anywhere_ = false;
  bool is_running_ = false;
  bool is_pressing_ = false;
  bool is_open_ = false;
  bool is_closed_ = false;
  bool is_overdue_ = false;
};

using VersionPtr = std::shared_ptr<Version>;

}  // namespace seqserve
