// How often something took how long, or was how large: counts by bucket, and their sum, in atomics.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace seqserve {

// buckets[i] counts what is at most bounds[i] and above the bound before; the last one counts the rest.
struct HistogramSnapshot {
  std::vector<std::uint64_t> buckets;
  std::uint64_t sum = 0;
};

class Histogram {
 public:
  // bounds: ascending.
  explicit Histogram(std::vector<std::uint64_t> bounds)
      : bounds_(std::move(bounds)), buckets_(std::make_unique<Count[]>(bounds_.size() + 1)) {}

  void observe(std::uint64_t value) {
    const auto place = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
    buckets_[static_cast<std::size_t>(place)].fetch_add(1, std::memory_order_relaxed);
    sum_.fetch_add(value, std::memory_order_relaxed);
  }

  HistogramSnapshot read() const {
    HistogramSnapshot snapshot;
    for (std::size_t place = 0; place <= bounds_.size(); ++place) {
      snapshot.buckets.push_back(buckets_[place].load(std::memory_order_relaxed));
    }
    snapshot.sum = sum_.load(std::memory_order_relaxed);
    return snapshot;
  }

 private:
  // Nothing is ordered by a count: relaxed is enough.
  using Count = std::atomic<std::uint64_t>;

  const std::vector<std::uint64_t> bounds_;
  const std::unique_ptr<Count[]> buckets_;
  Count sum_{0};
};

}  // namespace seqserve
