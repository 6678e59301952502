// The id of a call: the caller's own, where it is fit for logs, else a new one.
#pragma once

#include <grpcpp/server_context.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace seqserve::grpc_edge {

inline constexpr char kRequestId[] = "x-request-id";

// [A-Za-z0-9._-]{1,64}
bool is_request_id(std::string_view text);

class RequestIds {
 public:
  RequestIds();

  // Of a call that has arrived.
  std::string of(const grpc::ServerContext& call);

 private:
  std::string next();

  std::uint64_t seeds_[2];
  std::atomic<std::uint64_t> count_{0};
};

}  // namespace seqserve::grpc_edge
