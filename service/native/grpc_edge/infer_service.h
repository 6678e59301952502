// inference.GRPCInferenceService with one method, ModelInfer, whose messages stay bytes.
//
// It is what grpc_cpp_plugin generates as WithRawMethod_ModelInfer, without the generated messages; other
// methods are left to a generic service beside it.
#pragma once

#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/rpc_service_method.h>
#include <grpcpp/impl/service_type.h>
#include <grpcpp/support/async_unary_call.h>
#include <grpcpp/support/byte_buffer.h>

#include <memory>

namespace seqserve::grpc_edge {

using Responder = grpc::ServerAsyncResponseWriter<grpc::ByteBuffer>;

class InferService final : public grpc::Service {
 public:
  static constexpr char kModelInfer[] = "/inference.GRPCInferenceService/ModelInfer";
  // Served by the generic service.
  static constexpr char kModelStreamInfer[] = "/inference.GRPCInferenceService/ModelStreamInfer";

  InferService() {
    // gRPC owns and frees the method.
    AddMethod(std::make_unique<grpc::internal::RpcServiceMethod>(
                  kModelInfer, grpc::internal::RpcMethod::NORMAL_RPC, nullptr)
                  .release());
    MarkMethodRaw(0);
  }

  // The next call, its message included, comes as an event of `queue`.
  void request(grpc::ServerContext* context, grpc::ByteBuffer* message, Responder* responder,
               grpc::ServerCompletionQueue* queue, void* tag) {
    RequestAsyncUnary(0, context, message, responder, queue, queue, tag);
  }
};

}  // namespace seqserve::grpc_edge
