// What came back between the end of the warm-up and the end of the run.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/status.h>

#include <map>
#include <string>

#include "clock.h"
#include "histogram.h"

class Tally {
 public:
  static constexpr int kOk = grpc::StatusCode::OK;

  // Counting begins after the warm-up and ends so many seconds later.
  Tally(double warm_up_seconds, double seconds);

  Clock::time_point begin() const { return begin_; }
  Clock::time_point end() const { return end_; }
  bool Over() const { return Clock::now() >= end_; }

  // One reply. since: when it was asked for, or should have been. reply: its body, taken where status is OK.
  void Add(const grpc::Status& status, Clock::time_point since, grpc::ByteBuffer* reply) {
    Add(status.error_code(), status.error_message(), since, reply);
  }

  // The same. code: of gRPC, or an HTTP status; kOk is good. message: kept for the first of a code.
  void Add(int code, const std::string& message, Clock::time_point since, grpc::ByteBuffer* reply);

  // How late a request of an open loop was sent; only what is due while replies count.
  void AddLateness(Clock::time_point due);

  // Requests that had no reply when the run ended; they are in no histogram.
  void SetUnanswered(uint64_t count) { unanswered_ = count; }

  // The part of the run that the generator took of one core.
  double CpuShare() const;

  const std::map<int, Histogram>& latencies() const { return latencies_; }
  const std::map<int, std::string>& messages() const { return messages_; }
  const Histogram& lateness() const { return lateness_; }
  uint64_t unanswered() const { return unanswered_; }
  const grpc::ByteBuffer& first() const { return first_; }
  const grpc::ByteBuffer& last() const { return last_; }

 private:
  bool Counts(Clock::time_point now);

  const Clock::time_point begin_;
  const Clock::time_point end_;
  double cpu_at_begin_ = -1;
  Clock::time_point at_begin_;
  std::map<int, Histogram> latencies_;  // nanoseconds
  std::map<int, std::string> messages_;
  Histogram lateness_;  // nanoseconds
  uint64_t unanswered_ = 0;
  grpc::ByteBuffer first_;
  grpc::ByteBuffer last_;
};
