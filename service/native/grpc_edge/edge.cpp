#include "grpc_edge/edge.h"

#include <grpc/support/time.h>

#include <algorithm>

namespace seqserve::grpc_edge {

namespace {

std::string text(const grpc::string_ref& bytes) { return {bytes.data(), bytes.size()}; }

// Of whichever API; the gateway counts the requests of no other methods.
bool is_inference(std::string_view path) {
  const std::string_view method = path.substr(path.rfind('/') + 1);
  return method == "ModelInfer" || method == "ModelStreamInfer" || method == "Predict" || method == "PredictStream";
}

}  // namespace

bool Edge::take_place(std::string_view path) {
  if (calls_elsewhere.fetch_add(1) < limits.max_calls_elsewhere) return true;
  --calls_elsewhere;
  if (is_inference(path)) ++refused_calls;
  return false;
}

std::optional<ByteRoom::Share> Edge::take_room(std::string_view path, const grpc::ByteBuffer& message) {
  std::optional<ByteRoom::Share> share = bytes_elsewhere.take(message.Length());
  if (!share && is_inference(path)) ++refused_calls;
  return share;
}

// gRPC's monotonic clock is the core's: both are CLOCK_MONOTONIC.
Time Edge::deadline_of(const grpc::ServerContext& call) {
  gpr_timespec until = call.raw_deadline();
  if (gpr_time_cmp(until, gpr_inf_future(until.clock_type)) == 0) return kNever;
  if (until.clock_type != GPR_CLOCK_MONOTONIC) until = gpr_convert_clock_type(until, GPR_CLOCK_MONOTONIC);
  constexpr std::int64_t kMostSeconds = kNever.count() / 1'000'000'000 - 1;
  if (until.tv_sec >= kMostSeconds) return kNever;
  return std::chrono::seconds(until.tv_sec) + std::chrono::nanoseconds(until.tv_nsec);
}

Envelope Edge::envelope_of(const grpc::ServerContext& call, const std::string& path) const {
  Envelope envelope{path, {}, kNever};
  for (const auto& [key, value] : call.client_metadata()) envelope.metadata.emplace_back(text(key), text(value));
  const Time deadline = deadline_of(call);
  if (deadline != kNever) envelope.timeout = std::max(deadline - clock.now(), Time{0});
  return envelope;
}

}  // namespace seqserve::grpc_edge
