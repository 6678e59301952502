#include "grpc_edge/infer_server.h"

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <utility>

#include "grpc_edge/generic_call.h"
#include "grpc_edge/infer_call.h"
#include "grpc_edge/infer_stream.h"

namespace seqserve::grpc_edge {

namespace {

// However many arrive, a batch is run in between: about two of the largest usual batches.
constexpr std::size_t kMostEvents = 512;
// Calls that gRPC may hand over without being asked again.
constexpr std::size_t kAwaitedCalls = 128;
constexpr std::size_t kAwaitedOthers = 16;
// Deadlines are looked after this often while nothing else happens.
constexpr Time kLongestWait = std::chrono::milliseconds(10);

// gRPC counts in milliseconds, rounded up: "now" would wait for the rest of this one, the past does not.
gpr_timespec from_now(Time time) {
  return time > Time{0} ? gpr_time_from_nanos(time.count(), GPR_TIMESPAN) : gpr_inf_past(GPR_CLOCK_MONOTONIC);
}

std::size_t most_connections(const std::vector<std::pair<std::string, int>>& options) {
  for (const auto& [name, value] : options) {
    if (name == kMostConnections) return static_cast<std::size_t>(std::max(value, 0));
  }
  return SIZE_MAX;
}

}  // namespace

InferServer::InferServer(const CallLimits& limits, const Clock& clock, Elsewhere& elsewhere, Runners& runners)
    : edge_(limits, clock, elsewhere), runners_(runners) {}

int InferServer::listen(const Listening& listening) {
  if (server_ != nullptr) throw std::runtime_error("it listens already");
  ListeningSockets sockets = listen_on(listening.address);
  const int port = sockets.port;
  grpc::ServerBuilder builder;
  for (const auto& [name, value] : listening.options) builder.AddChannelArgument(name, value);
  auto connections = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, listening.credentials);
  builder.SetMaxReceiveMessageSize(edge_.limits.max_message_bytes);
  builder.SetMaxSendMessageSize(edge_.limits.max_message_bytes);
  // Compressed messages are inflated before their size is looked at; nobody gets that far.
  for (const grpc_compression_algorithm algorithm : {GRPC_COMPRESS_DEFLATE, GRPC_COMPRESS_GZIP}) {
    builder.SetCompressionAlgorithmSupportStatus(algorithm, false);
  }
  // gRPC reads the message of a call of a registered method before anybody is asked whether the caller may call.
  const bool has_hot_path = edge_.is_hot;
  if (has_hot_path) builder.RegisterService(&edge_.infer);
  builder.RegisterAsyncGenericService(&edge_.generic);
  auto queue = builder.AddCompletionQueue();
  auto server = builder.BuildAndStart();
  if (server == nullptr) {
    queue->Shutdown();
    throw std::runtime_error("cannot listen on " + listening.address);
  }
  // A handshake may ask them as long as the server is there.
  credentials_ = listening.credentials;
  queue_ = std::move(queue);
  server_ = std::move(server);
  edge_.queue = queue_.get();
  for (std::size_t call = 0; has_hot_path && call < kAwaitedCalls; ++call) InferCall::await(edge_);
  for (std::size_t call = 0; call < kAwaitedOthers; ++call) GenericCall::await(edge_);
  thread_ = std::thread([this, around = listening.around] { around([this] { work(); }); });
  connections_ = std::move(connections);
  const auto take = [this](int from, int connection) {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters taken;
    taken.listener_fd = from;
    taken.fd = connection;
    connections_->HandleNewConnection(&taken);
  };
  acceptor_ = std::make_unique<Acceptor>(std::move(sockets), most_connections(listening.options), take);
  return port;
}

InferServer::~InferServer() { stop(Time{0}); }

void InferServer::drain() {
  edge_.is_draining = true;
  edge_.streams.for_each([](InferStream& stream) { stream.drain(); });
}

void InferServer::stop(Time grace) {
  if (!thread_.joinable()) return;
  edge_.is_stopping = true;
  // gRPC would leave open what it is given from now on.
  acceptor_ = nullptr;
  server_->Shutdown(from_now(grace));
  // Nothing may be put into a queue that was shut down, and a call may still be on its way to its answer.
  while (edge_.calls != 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  queue_->Shutdown();
  thread_.join();
}

// Work-conserving: nothing waits for a batch to fill up while there is nothing else to do.
void InferServer::work() {
  runners_.welcome();
  bool has_run = false;
  while (take_events(has_run ? Time{0} : kLongestWait)) {
    has_run = runners_.run_own();
    sweep(edge_.clock.now());
  }
  runners_.dismiss();
}

void InferServer::sweep(Time now) {
  edge_.deadlines.sweep(now);
  std::vector<HotRequestPtr> expired;
  edge_.streams.sweep(now, [&](InferStream& stream) { return stream.sweep(now, expired); });
}

// Waits so long for a first event, and takes all that are there; false once the queue has ended.
bool InferServer::take_events(Time most) {
  gpr_timespec until = from_now(most);
  for (std::size_t taken = 0; taken < kMostEvents; ++taken) {
    void* tag = nullptr;
    bool ok = false;
    switch (queue_->AsyncNext(&tag, &ok, until)) {
      case grpc::CompletionQueue::SHUTDOWN: return false;
      case grpc::CompletionQueue::TIMEOUT: return true;
      case grpc::CompletionQueue::GOT_EVENT: break;
    }
    static_cast<const Event*>(tag)->happen(ok);
    until = from_now(Time{0});
  }
  return true;
}

}  // namespace seqserve::grpc_edge
