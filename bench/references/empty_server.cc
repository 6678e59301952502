// A C++ gRPC server with the gateway's messages and no model: what a C++ front could reach.
//
//   empty_server HOST:PORT REPLY    REPLY: file with the ModelInferResponse that answers every request
//
// Requests are parsed and replies written by protobuf, on the callback API, as by an ordinary C++ server.
#include <grpcpp/grpcpp.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "inference.grpc.pb.h"

namespace {

using Request = inference::ModelInferRequest;
using Reply = inference::ModelInferResponse;
using StreamReply = inference::ModelStreamInferResponse;

// Answers each message of a stream in turn.
class StreamReactor : public grpc::ServerBidiReactor<Request, StreamReply> {
 public:
  explicit StreamReactor(const Reply& reply) {
    *reply_.mutable_infer_response() = reply;
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    if (ok) {
      StartWrite(&reply_);
    } else {
      Finish(grpc::Status::OK);
    }
  }

  void OnWriteDone(bool ok) override {
    if (ok) {
      StartRead(&request_);
    } else {
      Finish(grpc::Status::OK);
    }
  }

  void OnDone() override { delete this; }

 private:
  Request request_;
  StreamReply reply_;
};

class Empty : public inference::GRPCInferenceService::CallbackService {
 public:
  explicit Empty(const Reply& reply) : reply_(reply) {}

  grpc::ServerUnaryReactor* ModelInfer(grpc::CallbackServerContext* context, const Request*,
                                       Reply* reply) override {
    *reply = reply_;
    auto* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  grpc::ServerBidiReactor<Request, StreamReply>* ModelStreamInfer(grpc::CallbackServerContext*) override {
    return new StreamReactor(reply_);
  }

 private:
  const Reply reply_;
};

int Serve(const std::string& address, const Reply& reply) {
  Empty service(reply);
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(-1);
  builder.AddListeningPort(address, grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  if (!server) return 1;
  server->Wait();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: empty_server HOST:PORT REPLY\n");
    return 2;
  }
  std::ifstream file(argv[2], std::ios::binary);
  Reply reply;
  if (!reply.ParseFromIstream(&file)) {
    std::fprintf(stderr, "no ModelInferResponse in %s\n", argv[2]);
    return 2;
  }
  return Serve(argv[1], reply);
}
