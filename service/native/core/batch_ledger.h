// What became of a version's batches and of the rows that wanted into one: what metrics and statistics show.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "core/histogram.h"
#include "core/outcome.h"

namespace seqserve {

// What sealed a batch. idle: the engine was free.
enum class Flush { full, idle, delay, drain };
inline constexpr std::size_t kFlushes = 4;

// Why admitted rows left before they reached the model.
enum class Drop { departed, expired, failed, overdue, away, aborted };
inline constexpr std::size_t kDrops = 6;

const char* name(Flush reason);
const char* name(Drop cause);

// All batches of one size that the engine answered; times in nanoseconds.
struct SizeCounts {
  std::uint64_t batches = 0;
  std::uint64_t assembly = 0;
  std::uint64_t compute = 0;
  std::uint64_t split = 0;
};

// refused, dropped: rows. examples: of every batch that went to the engine; assembly and compute, in
// nanoseconds, of those that it answered.
struct BatchSnapshot {
  std::array<std::uint64_t, kRefusals> refused{};
  std::array<std::uint64_t, kDrops> dropped{};
  std::array<std::uint64_t, kFlushes> reasons{};
  std::uint64_t failed = 0;
  std::uint64_t overdue = 0;
  std::uint64_t recovered = 0;
  HistogramSnapshot assembly;
  HistogramSnapshot compute;
  HistogramSnapshot examples;
  std::map<std::size_t, SizeCounts> by_size;

  std::uint64_t batches() const;
};

// How long the parts of a batch's life took.
struct BatchTimes {
  Time assembly{0};
  Time compute{0};
  Time split{0};
};

// It outlives the version: one that is loaded again goes on counting.
class BatchLedger {
 public:
  BatchLedger(const std::vector<std::uint64_t>& seconds_bounds, std::vector<std::uint64_t> examples_bounds)
      : assembly_(seconds_bounds), compute_(seconds_bounds), examples_(std::move(examples_bounds)) {}

  void refuse(Refusal cause, std::size_t rows) { add(refused_[static_cast<std::size_t>(cause)], rows); }
  void drop(Drop cause, std::size_t rows) { add(dropped_[static_cast<std::size_t>(cause)], rows); }
  void start(Flush reason, std::size_t rows);
  void compute(std::size_t rows, const BatchTimes& times);
  void fail() { add(failed_, 1); }
  void overdue() { add(overdue_, 1); }
  void recover() { add(recovered_, 1); }

  BatchSnapshot read() const;

 private:
  using Count = std::atomic<std::uint64_t>;

  // Nothing is ordered by a count: relaxed is enough.
  static void add(Count& count, std::uint64_t more) { count.fetch_add(more, std::memory_order_relaxed); }

  std::array<Count, kRefusals> refused_{};
  std::array<Count, kDrops> dropped_{};
  std::array<Count, kFlushes> reasons_{};
  Count failed_{0};
  Count overdue_{0};
  Count recovered_{0};
  Histogram assembly_;
  Histogram compute_;
  Histogram examples_;
  mutable std::mutex mutex_;
  std::map<std::size_t, SizeCounts> by_size_;
};

}  // namespace seqserve
