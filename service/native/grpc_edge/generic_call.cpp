#include "grpc_edge/generic_call.h"

#include <utility>

#include "grpc_edge/infer_stream.h"
#include "grpc_edge/side_call.h"

namespace seqserve::grpc_edge {

GenericCall::GenericCall(Edge& whose) : edge(whose) { ++edge.calls; }

void GenericCall::await(Edge& edge) {
  if (edge.is_stopping) return;
  // From here on the call belongs to gRPC's events; the last of them takes it back.
  GenericCall* const call = std::make_unique<GenericCall>(edge).release();
  call->context.AsyncNotifyWhenDone(&call->over);
  edge.generic.RequestCall(&call->context, &call->stream, edge.queue, edge.queue, &call->arrived);
}

void GenericCall::on_arrived(bool ok) {
  GenericCallPtr call(this);
  if (!ok) return;  // the server shuts down; no other event comes
  await(edge);
  if (edge.is_hot && context.method() == InferService::kModelStreamInfer) {
    InferStream::serve(std::move(call));
  } else {
    SideCall::serve(std::move(call));
  }
}

void GenericCall::add_trailing(const Pairs& pairs) {
  for (const auto& [key, value] : pairs) context.AddTrailingMetadata(key, value);
}

}  // namespace seqserve::grpc_edge
