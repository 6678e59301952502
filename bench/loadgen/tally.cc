#include "tally.h"

namespace {

uint64_t Nanoseconds(Clock::duration duration) {
  const auto count = std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count();
  return count > 0 ? static_cast<uint64_t>(count) : 0;
}

}  // namespace

Tally::Tally(double warm_up_seconds, double seconds)
    : begin_(Clock::now() + Seconds(warm_up_seconds)), end_(begin_ + Seconds(seconds)) {
  latencies_[kOk];  // its memory is there before it counts
}

void Tally::Add(int code, const std::string& message, Clock::time_point since, grpc::ByteBuffer* reply) {
  const auto now = Clock::now();
  if (code == kOk) {
    if (!first_.Valid()) first_ = *reply;
    last_.Swap(reply);
  } else {
    messages_.emplace(code, message);
  }
  if (Counts(now)) latencies_[code].Add(Nanoseconds(now - since));
}

void Tally::AddLateness(Clock::time_point due) {
  if (due >= begin_) lateness_.Add(Nanoseconds(Clock::now() - due));
}

bool Tally::Counts(Clock::time_point now) {
  if (now < begin_ || now >= end_) return false;
  if (cpu_at_begin_ < 0) {
    cpu_at_begin_ = CpuSeconds();
    at_begin_ = now;
  }
  return true;
}

double Tally::CpuShare() const {
  if (cpu_at_begin_ < 0) return 0;
  return (CpuSeconds() - cpu_at_begin_) / InSeconds(Clock::now() - at_begin_);
}
