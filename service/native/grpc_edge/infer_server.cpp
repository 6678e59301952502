#include "grpc_edge/infer_server.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace seqserve::grpc_edge {

namespace {

// However many arrive, a batch is run in between: about two of the largest usual batches.
constexpr std::size_t kMostEvents = 512;
// Deadlines are looked after this often while nothing else happens.
constexpr Time kLongestWait = std::chrono::milliseconds(10);

// gRPC counts in milliseconds, rounded up: "now" would wait for the rest of this one, the past does not.
gpr_timespec from_now(Time time) {
  return time > Time{0} ? gpr_time_from_nanos(time.count(), GPR_TIMESPAN) : gpr_inf_past(GPR_CLOCK_MONOTONIC);
}

grpc::Status not_served(const grpc::ByteBuffer&, grpc::ByteBuffer&) {
  return {grpc::StatusCode::UNIMPLEMENTED, "not served by this front"};
}

}  // namespace

InferServer::InferServer(const Listening& listening, const Clock& clock, Resolve resolve,
                         std::vector<VersionPtr> inline_versions)
    : clock_(clock), inline_versions_(std::move(inline_versions)) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort(listening.address, grpc::InsecureServerCredentials(), &port_);
  builder.SetMaxReceiveMessageSize(listening.max_message_bytes);
  // Compressed messages are inflated before their size is looked at; nobody gets that far.
  for (const grpc_compression_algorithm algorithm : {GRPC_COMPRESS_DEFLATE, GRPC_COMPRESS_GZIP}) {
    builder.SetCompressionAlgorithmSupportStatus(algorithm, false);
  }
  builder.RegisterService(&service_);
  queue_ = builder.AddCompletionQueue();
  server_ = builder.BuildAndStart();
  if (server_ == nullptr || port_ == 0) throw std::runtime_error("cannot listen on " + listening.address);
  desk_ = std::make_unique<Desk>(service_, *queue_, clock_, std::move(resolve), not_served);
  for (std::size_t index = 0; index < listening.awaited_calls; ++index) Call::await(*desk_);
  thread_ = std::thread([this] { work(); });
}

InferServer::~InferServer() { stop(Time{0}); }

void InferServer::stop(Time grace) {
  if (!thread_.joinable()) return;
  desk_->is_stopping = true;
  server_->Shutdown(from_now(grace));
  // Nothing may be put into a queue that was shut down, and a call may still be on its way to its answer.
  while (desk_->calls != 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  queue_->Shutdown();
  thread_.join();
}

// Work-conserving: nothing waits for a batch to fill up while there is nothing else to do.
void InferServer::work() {
  while (take_events(std::clamp(next_due() - clock_.now(), Time{0}, kLongestWait))) {
    while (run_due()) {
      if (!take_events(Time{0})) return;
    }
    for (const VersionPtr& version : inline_versions_) version->sweep();
  }
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
    const auto* event = static_cast<const Call::Event*>(tag);
    (event->call->*event->happened)(ok);
    until = from_now(Time{0});
  }
  return true;
}

bool InferServer::run_due() {
  bool has_run = false;
  for (const VersionPtr& version : inline_versions_) has_run = version->run_next() || has_run;
  return has_run;
}

Time InferServer::next_due() const {
  Time due = kNever;
  for (const VersionPtr& version : inline_versions_) due = std::min(due, version->due());
  return due;
}

}  // namespace seqserve::grpc_edge
