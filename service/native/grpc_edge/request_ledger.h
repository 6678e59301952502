// What became of the requests that the hot path answered for one version: what metrics and statistics show.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "core/histogram.h"

namespace seqserve::grpc_edge {

// gRPC's status codes, OK to UNAUTHENTICATED.
inline constexpr std::size_t kCodes = 17;

// From a request's decoding to its checked answer, and in between.
struct Phases {
  Time total{0};
  Time decode{0};
  Time queue{0};
  Time compute{0};
};

// examples: of answered requests. compute: of all answered requests, each with its batch's whole time.
// failed: requests without an answer, and their time. answered_at: milliseconds since the epoch, 0 before.
struct RequestSnapshot {
  std::array<std::uint64_t, kCodes> codes{};
  std::uint64_t examples = 0;
  std::uint64_t compute = 0;
  std::uint64_t failed = 0;
  std::uint64_t failed_time = 0;
  std::uint64_t answered_at = 0;
  std::uint64_t in_flight = 0;
  HistogramSnapshot request;
  HistogramSnapshot decode;
  HistogramSnapshot queue;
  HistogramSnapshot encode;
};

// Times in nanoseconds. It outlives the version: one that is loaded again goes on counting.
class RequestLedger {
 public:
  explicit RequestLedger(const std::vector<std::uint64_t>& bounds)
      : request_(bounds), decode_(bounds), queue_(bounds), encode_(bounds) {}

  // Bound to the version; `answered` or `ended` is to follow, once.
  void begun() { add(in_flight_, 1); }
  void answered(std::size_t examples, const Phases& phases, std::uint64_t now_milliseconds);
  void encoded(Time time) { encode_.observe(nanoseconds(time)); }
  // Without an answer; code: gRPC's.
  void ended(int code, Time total);
  // Refused before it was bound.
  void turned_away(int code) { add(codes_[place_of(code)], 1); }

  RequestSnapshot read() const;

 private:
  using Count = std::atomic<std::uint64_t>;

  static void add(Count& count, std::uint64_t more) { count.fetch_add(more, std::memory_order_relaxed); }
  // Of a code that gRPC does not know: UNKNOWN's.
  static std::size_t place_of(int code) {
    const auto place = static_cast<std::size_t>(code);
    return place < kCodes ? place : 2;
  }
  static std::uint64_t nanoseconds(Time time) { return static_cast<std::uint64_t>(time.count() < 0 ? 0 : time.count()); }

  std::array<Count, kCodes> codes_{};
  Count examples_{0};
  Count compute_{0};
  Count failed_{0};
  Count failed_time_{0};
  Count answered_at_{0};
  Count in_flight_{0};
  Histogram request_;
  Histogram decode_;
  Histogram queue_;
  Histogram encode_;
};

}  // namespace seqserve::grpc_edge
