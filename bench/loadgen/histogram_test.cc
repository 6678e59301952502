// Against sorted values; a program of its own, so that nothing else need be installed.
#include "histogram.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <random>
#include <vector>

namespace {

int failures = 0;

void Expect(bool holds, const char* what) {
  if (holds) return;
  ++failures;
  std::fprintf(stderr, "failed: %s\n", what);
}

void AnEmptyOneHasNoLatencies() {
  const Histogram empty;
  Expect(empty.count() == 0 && empty.max() == 0 && empty.Quantile(0.99) == 0, "empty: all 0");
}

void SmallValuesAreExact() {
  Histogram histogram;
  for (uint64_t value = 1; value <= 200; ++value) histogram.Add(value);
  Expect(histogram.Quantile(0.5) == 100, "the median of 1 to 200 is 100");
  Expect(histogram.Quantile(0.99) == 198, "the 99th percentile of 1 to 200 is 198");
  Expect(histogram.Quantile(0) == 1 && histogram.Quantile(1) == 200, "the ends are the ends");
}

void EveryValueIsAtMostOneHundredthTooHigh() {
  for (int bit = 0; bit < 64; ++bit) {
    for (const uint64_t offset : {-1, 0, 1, 3}) {
      Histogram histogram;
      const uint64_t value = (uint64_t{1} << bit) + offset;
      histogram.Add(value);
      histogram.Add(std::numeric_limits<uint64_t>::max());  // so that the maximum does not hide the bucket
      const uint64_t found = histogram.Quantile(0.5);
      Expect(found >= value && static_cast<double>(found - value) <= 0.008 * static_cast<double>(value),
             "a value at a power of two stays within 0.8 %");
    }
  }
}

void QuantilesAreThoseOfTheSortedValues() {
  std::mt19937_64 random(5);
  std::lognormal_distribution<double> latency(13, 1.5);  // nanoseconds, around half a millisecond
  Histogram histogram;
  std::vector<uint64_t> values(100'000);
  for (auto& value : values) histogram.Add(value = static_cast<uint64_t>(latency(random)));
  std::sort(values.begin(), values.end());
  for (const double share : {0.01, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(values.size())));
    const auto exact = static_cast<double>(values[rank - 1]);
    const auto found = static_cast<double>(histogram.Quantile(share));
    Expect(found >= exact && found <= exact * 1.008, "a quantile is at most 0.8 % above the sorted values'");
  }
  Expect(histogram.max() == values.back() && histogram.count() == values.size(), "maximum and count are exact");
}

}  // namespace

int main() {
  AnEmptyOneHasNoLatencies();
  SmallValuesAreExact();
  EveryValueIsAtMostOneHundredthTooHigh();
  QuantilesAreThoseOfTheSortedValues();
  return failures == 0 ? 0 : 1;
}
