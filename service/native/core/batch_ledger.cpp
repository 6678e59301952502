#include "core/batch_ledger.h"

#include <algorithm>
#include <numeric>

namespace seqserve {

namespace {

std::uint64_t nanoseconds(Time time) { return static_cast<std::uint64_t>(std::max(time, Time{0}).count()); }

template <typename Counts, typename Read>
void copy(const Counts& counts, Read& read) {
  std::transform(counts.begin(), counts.end(), read.begin(),
                 [](const auto& count) { return count.load(std::memory_order_relaxed); });
}

}  // namespace

const char* name(Flush reason) {
  switch (reason) {
    case Flush::full: return "full";
    case Flush::idle: return "idle";
    case Flush::delay: return "delay";
    case Flush::drain: return "drain";
  }
  return "unknown";
}

const char* name(Drop cause) {
  switch (cause) {
    case Drop::departed: return "departed";
    case Drop::expired: return "expired";
    case Drop::failed: return "failed";
    case Drop::overdue: return "overdue";
    case Drop::away: return "away";
    case Drop::aborted: return "aborted";
  }
  return "unknown";
}

std::uint64_t BatchSnapshot::batches() const {
  return std::accumulate(reasons.begin(), reasons.end(), std::uint64_t{0});
}

void BatchLedger::start(Flush reason, std::size_t rows) {
  add(reasons_[static_cast<std::size_t>(reason)], 1);
  examples_.observe(rows);
}

void BatchLedger::compute(std::size_t rows, const BatchTimes& times) {
  assembly_.observe(nanoseconds(times.assembly));
  compute_.observe(nanoseconds(times.compute));
  const std::lock_guard lock(mutex_);
  SizeCounts& counts = by_size_[rows];
  ++counts.batches;
  counts.assembly += nanoseconds(times.assembly);
  counts.compute += nanoseconds(times.compute);
  counts.split += nanoseconds(times.split);
}

BatchSnapshot BatchLedger::read() const {
  BatchSnapshot snapshot;
  copy(refused_, snapshot.refused);
  copy(dropped_, snapshot.dropped);
  copy(reasons_, snapshot.reasons);
  snapshot.failed = failed_.load(std::memory_order_relaxed);
  snapshot.overdue = overdue_.load(std::memory_order_relaxed);
  snapshot.recovered = recovered_.load(std::memory_order_relaxed);
  snapshot.assembly = assembly_.read();
  snapshot.compute = compute_.read();
  snapshot.examples = examples_.read();
  const std::lock_guard lock(mutex_);
  snapshot.by_size = by_size_;
  return snapshot;
}

}  // namespace seqserve
