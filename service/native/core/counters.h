// Counts that only grow. Written under no lock, read as a snapshot by whoever exports metrics.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/clock.h"
#include "core/outcome.h"

namespace seqserve {

// Batches of 1, of 2, of up to 4, up to 8 … up to 65536 rows.
inline constexpr std::size_t kSizeBuckets = 17;

// Requests unless it says rows or batches. Each admitted request is ended or has left, once.
struct Snapshot {
  std::uint64_t admitted = 0;
  std::uint64_t admitted_rows = 0;
  std::array<std::uint64_t, kRefusals> refused{};
  std::array<std::uint64_t, kEndings> ended{};
  std::uint64_t left_before_sealing = 0;
  std::uint64_t left_after_sealing = 0;
  std::uint64_t batches = 0;
  std::uint64_t failed_batches = 0;
  std::uint64_t overdue_batches = 0;
  std::uint64_t recovered_batches = 0;
  std::uint64_t batch_rows = 0;
  std::uint64_t computing_nanoseconds = 0;
  std::array<std::uint64_t, kSizeBuckets> batch_sizes{};

  std::uint64_t left() const { return left_before_sealing + left_after_sealing; }
  std::uint64_t all_refused() const;
  std::uint64_t all_ended() const;
};

class Counters {
 public:
  void admit(std::size_t rows);
  void refuse(Refusal reason) { add(refused_[static_cast<std::size_t>(reason)]); }
  void end(Ending ending) { add(ended_[static_cast<std::size_t>(ending)]); }
  void leave(bool is_sealed) { add(is_sealed ? left_after_sealing_ : left_before_sealing_); }
  void start_batch(std::size_t rows);
  void finish_batch(Time computing) { add(computing_nanoseconds_, static_cast<std::uint64_t>(computing.count())); }
  void fail_batch() { add(failed_batches_); }
  void overdue_batch() { add(overdue_batches_); }
  void recover_batch() { add(recovered_batches_); }

  Snapshot read() const;

 private:
  using Count = std::atomic<std::uint64_t>;

  // Nothing is ordered by a counter: relaxed is enough.
  static void add(Count& count, std::uint64_t more = 1) { count.fetch_add(more, std::memory_order_relaxed); }

  Count admitted_{0};
  Count admitted_rows_{0};
  std::array<Count, kRefusals> refused_{};
  std::array<Count, kEndings> ended_{};
  Count left_before_sealing_{0};
  Count left_after_sealing_{0};
  Count batches_{0};
  Count failed_batches_{0};
  Count overdue_batches_{0};
  Count recovered_batches_{0};
  Count batch_rows_{0};
  Count computing_nanoseconds_{0};
  std::array<Count, kSizeBuckets> batch_sizes_{};
};

}  // namespace seqserve
