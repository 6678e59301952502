#include "histogram.h"

#include <algorithm>
#include <cmath>

namespace {

constexpr int kBits = 7;
constexpr uint64_t kBucketsAnOctave = uint64_t{1} << kBits;
constexpr uint64_t kLargestShift = 63 - kBits;
constexpr size_t kBuckets = (kLargestShift + 2) * kBucketsAnOctave;

// By how many bits a value is cut, so that 8 are left.
uint64_t ShiftOf(uint64_t value) {
  if (value < kBucketsAnOctave) return 0;
  return 63 - static_cast<uint64_t>(__builtin_clzll(value)) - kBits;
}

size_t BucketOf(uint64_t value) {
  const uint64_t shift = ShiftOf(value);
  return shift * kBucketsAnOctave + (value >> shift);
}

uint64_t LargestIn(size_t bucket) {
  if (bucket < 2 * kBucketsAnOctave) return bucket;
  const uint64_t shift = bucket / kBucketsAnOctave - 1;
  const uint64_t cut = bucket - shift * kBucketsAnOctave;
  return (cut << shift) + ((uint64_t{1} << shift) - 1);
}

}  // namespace

Histogram::Histogram() : buckets_(kBuckets) {}

void Histogram::Add(uint64_t value) {
  ++buckets_[BucketOf(value)];
  ++count_;
  max_ = std::max(max_, value);
}

uint64_t Histogram::Quantile(double share) const {
  const auto rank = std::max(1.0, std::ceil(share * static_cast<double>(count_)));
  uint64_t seen = 0;
  for (size_t bucket = 0; bucket < buckets_.size() && count_ > 0; ++bucket) {
    seen += buckets_[bucket];
    if (static_cast<double>(seen) >= rank) return std::min(max_, LargestIn(bucket));
  }
  return max_;
}
