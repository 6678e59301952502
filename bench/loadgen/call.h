// One unary call, and then the next.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>

#include <memory>

#include "load.h"
#include "tally.h"

class Call {
 public:
  // Asks; its end arrives in the load's queue with this object as the tag. since: when latency begins.
  void Start(grpc::GenericStub* stub, Load* load, Clock::time_point since);

  // After its end has arrived.
  void Record(Tally* tally);

  void Cancel() { context_->TryCancel(); }

 private:
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader_;
  grpc::ByteBuffer reply_;
  grpc::Status status_;
  Clock::time_point since_;
};
