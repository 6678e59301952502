// The listener and its one thread: it takes whatever has arrived, then runs what is due.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/runners.h"
#include "grpc_edge/acceptor.h"
#include "grpc_edge/edge.h"

namespace seqserve::grpc_edge {

// The body of a thread, to be run once.
using Work = std::function<void()>;

// Held to with versions of gRPC that do not know it, too.
inline constexpr char kMostConnections[] = "grpc.max_allowed_incoming_connections";

// options: of gRPC's core, by their names. around: what the server's thread needs around its work.
struct Listening {
  std::string address = "127.0.0.1:0";
  std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials();
  std::vector<std::pair<std::string, int>> options;
  std::function<void(const Work&)> around = [](const Work& work) { work(); };
};

class InferServer {
 public:
  // runners: the server's thread is their guest, and computes what is quick by itself.
  InferServer(const CallLimits& limits, const Clock& clock, Elsewhere& elsewhere, Runners& runners);
  InferServer(const InferServer&) = delete;
  InferServer& operator=(const InferServer&) = delete;
  ~InferServer();

  // The port, a free one for 0. Once. Throws std::runtime_error where it cannot listen.
  int listen(const Listening& listening);

  // What the hot path serves from now on. Once it returns, no request is being bound to what was served before.
  void route(std::vector<Route> table) { edge_.routes.replace(std::move(table)); }
  // Whether there is a hot path at all.
  void set_hot(bool is_hot) { edge_.is_hot = is_hot; }
  // Refuses hot requests as shutting down, and ends each native stream once it has answered what it took.
  void drain();
  std::uint64_t turned_away() const { return edge_.turned_away; }
  // Requests for inference that were beyond the calls that may be under way elsewhere.
  std::uint64_t refused_calls() const { return edge_.refused_calls; }

  // Refuses new calls, waits so long for those in flight, cancels the rest, and joins.
  void stop(Time grace);

 private:
  void work();
  // Answers whose time is over.
  void sweep(Time now);
  bool take_events(Time most);

  Edge edge_;
  Runners& runners_;
  std::shared_ptr<grpc::ServerCredentials> credentials_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> connections_;
  std::unique_ptr<Acceptor> acceptor_;
  std::thread thread_;
};

}  // namespace seqserve::grpc_edge
