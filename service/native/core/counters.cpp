#include "core/counters.h"

#include <algorithm>
#include <numeric>

namespace seqserve {

namespace {

std::size_t bucket(std::size_t rows) {
  std::size_t index = 0;
  while (index + 1 < kSizeBuckets && (std::size_t{1} << index) < rows) ++index;
  return index;
}

template <typename Counts, typename Read>
void copy(const Counts& counts, Read& read) {
  std::transform(counts.begin(), counts.end(), read.begin(),
                 [](const auto& count) { return count.load(std::memory_order_relaxed); });
}

}  // namespace

std::uint64_t Snapshot::all_refused() const {
  return std::accumulate(refused.begin(), refused.end(), std::uint64_t{0});
}

std::uint64_t Snapshot::all_ended() const { return std::accumulate(ended.begin(), ended.end(), std::uint64_t{0}); }

void Counters::admit(std::size_t rows) {
  add(admitted_);
  add(admitted_rows_, rows);
}

void Counters::start_batch(std::size_t rows) {
  add(batches_);
  add(batch_rows_, rows);
  add(batch_sizes_[bucket(rows)]);
}

Snapshot Counters::read() const {
  constexpr auto relaxed = std::memory_order_relaxed;
  Snapshot snapshot;
  snapshot.admitted = admitted_.load(relaxed);
  snapshot.admitted_rows = admitted_rows_.load(relaxed);
  copy(refused_, snapshot.refused);
  copy(ended_, snapshot.ended);
  snapshot.left_before_sealing = left_before_sealing_.load(relaxed);
  snapshot.left_after_sealing = left_after_sealing_.load(relaxed);
  snapshot.batches = batches_.load(relaxed);
  snapshot.failed_batches = failed_batches_.load(relaxed);
  snapshot.overdue_batches = overdue_batches_.load(relaxed);
  snapshot.recovered_batches = recovered_batches_.load(relaxed);
  snapshot.batch_rows = batch_rows_.load(relaxed);
  snapshot.computing_nanoseconds = computing_nanoseconds_.load(relaxed);
  copy(batch_sizes_, snapshot.batch_sizes);
  return snapshot;
}

}  // namespace seqserve
