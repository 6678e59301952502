// google.rpc.Status with ErrorInfo and RetryInfo: what goes as grpc-status-details-bin with a refusal.
//
// Source: google/rpc/status.proto and error_details.proto of https://github.com/googleapis/googleapis
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace seqserve::wire {

// code: gRPC's. retry_after_ns: none where no RetryInfo goes with it.
struct StatusDetails {
  int code = 0;
  std::string_view words;
  std::string_view reason;
  std::string_view request_id;
  std::optional<std::int64_t> retry_after_ns;
};

std::string serialize(const StatusDetails& details);

}  // namespace seqserve::wire
