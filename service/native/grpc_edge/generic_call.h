// A call of any method but ModelInfer: nothing of its messages is read before somebody wants it.
#pragma once

#include <grpcpp/generic/async_generic_service.h>

#include <memory>

#include "grpc_edge/edge.h"
#include "grpc_edge/event.h"

namespace seqserve::grpc_edge {

// What gRPC needs of a call. It is counted among the edge's calls.
struct GenericCall {
  // Asks gRPC for the next call.
  static void await(Edge& edge);

  explicit GenericCall(Edge& whose);
  GenericCall(const GenericCall&) = delete;
  GenericCall& operator=(const GenericCall&) = delete;
  ~GenericCall() { --edge.calls; }

  void on_arrived(bool ok);
  void add_trailing(const Pairs& pairs);

  Edge& edge;
  grpc::GenericServerContext context;
  grpc::GenericServerAsyncReaderWriter stream{&context};
  grpc::ByteBuffer incoming;
  Event arrived = event_of<&GenericCall::on_arrived>(this);
  // Of whoever takes the call once it has arrived.
  Event read;
  Event written;
  Event finished;
  Event over;
};

using GenericCallPtr = std::unique_ptr<GenericCall>;

}  // namespace seqserve::grpc_edge
