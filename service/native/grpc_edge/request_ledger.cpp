#include "grpc_edge/request_ledger.h"

namespace seqserve::grpc_edge {

void RequestLedger::answered(std::size_t examples, const Phases& phases, std::uint64_t now_milliseconds) {
  add(codes_[0], 1);
  add(examples_, examples);
  add(compute_, nanoseconds(phases.compute));
  answered_at_.store(now_milliseconds, std::memory_order_relaxed);
  request_.observe(nanoseconds(phases.total));
  decode_.observe(nanoseconds(phases.decode));
  queue_.observe(nanoseconds(phases.queue));
  in_flight_.fetch_sub(1, std::memory_order_relaxed);
}

void RequestLedger::ended(int code, Time total) {
  add(codes_[place_of(code)], 1);
  add(failed_, 1);
  add(failed_time_, nanoseconds(total));
  in_flight_.fetch_sub(1, std::memory_order_relaxed);
}

RequestSnapshot RequestLedger::read() const {
  constexpr auto relaxed = std::memory_order_relaxed;
  RequestSnapshot snapshot;
  for (std::size_t code = 0; code < kCodes; ++code) snapshot.codes[code] = codes_[code].load(relaxed);
  snapshot.examples = examples_.load(relaxed);
  snapshot.compute = compute_.load(relaxed);
  snapshot.failed = failed_.load(relaxed);
  snapshot.failed_time = failed_time_.load(relaxed);
  snapshot.answered_at = answered_at_.load(relaxed);
  snapshot.in_flight = in_flight_.load(relaxed);
  snapshot.request = request_.read();
  snapshot.decode = decode_.read();
  snapshot.queue = queue_.read();
  snapshot.encode = encode_.read();
  return snapshot;
}

}  // namespace seqserve::grpc_edge
