// How often each latency occurred, in buckets that grow with what they hold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

// Values below 256 are kept as they are; above, an octave has 128 buckets, so a quantile is at most 0.8 %
// too high and never too low. Its size does not depend on how much was added.
// Source: the layout of HdrHistogram (Gil Tene).
class Histogram {
 public:
  Histogram();

  void Add(uint64_t value);

  uint64_t count() const { return count_; }
  uint64_t max() const { return max_; }

  // The smallest value that at least this share (0 to 1) of all lies at or below; 0 where there are none.
  uint64_t Quantile(double share) const;

 private:
  std::vector<uint64_t> buckets_;
  uint64_t count_ = 0;
  uint64_t max_ = 0;
};
