// The listener and its one thread: it takes whatever has arrived, then runs what is due.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "grpc_edge/call.h"

namespace seqserve::grpc_edge {

struct Listening {
  std::string address = "127.0.0.1:0";
  int max_message_bytes = 16 << 20;
  // Calls that gRPC may hand over without being asked again.
  std::size_t awaited_calls = 128;
};

class InferServer {
 public:
  // inline_versions: whose batches run on the server's own thread, which is for engines that take well below
  // a millisecond; others are run by Runners. Throws std::runtime_error where it cannot listen.
  InferServer(const Listening& listening, const Clock& clock, Resolve resolve, std::vector<VersionPtr> inline_versions);
  InferServer(const InferServer&) = delete;
  InferServer& operator=(const InferServer&) = delete;
  ~InferServer();

  int port() const { return port_; }

  // Refuses new calls, waits so long for those in flight, cancels the rest, and joins.
  void stop(Time grace);

 private:
  void work();
  bool take_events(Time most);
  bool run_due();
  Time next_due() const;

  const Clock& clock_;
  const std::vector<VersionPtr> inline_versions_;
  InferService service_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Desk> desk_;
  std::thread thread_;
  int port_ = 0;
};

}  // namespace seqserve::grpc_edge
