// A listener with one hot version, clients of it, and somebody elsewhere who remembers what came.
#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/runners.h"
#include "fakes.h"
#include "grpc_edge/handle.h"
#include "grpc_edge/infer_server.h"
#include "messages.h"

namespace seqserve::testing {

using grpc::StatusCode;

inline constexpr char kModelInfer[] = "/inference.GRPCInferenceService/ModelInfer";
inline constexpr char kModelStreamInfer[] = "/inference.GRPCInferenceService/ModelStreamInfer";

inline grpc::ByteBuffer buffer_of(const std::string& text) {
  const grpc::Slice slice(text);
  return {&slice, 1};
}

inline std::string text_of(const grpc::ByteBuffer& buffer) {
  grpc::Slice whole;
  if (!buffer.DumpToSingleSlice(&whole).ok()) return "";
  return {reinterpret_cast<const char*>(whole.begin()), whole.size()};
}

// Remembers all news, in order; `wait` until there is one of which something is true.
class FakeElsewhere final : public grpc_edge::Elsewhere {
 public:
  struct News {
    std::string kind;
    std::uint64_t call = 0;
    std::string text;
    bool flag = false;
    std::uint64_t number = 0;
    grpc_edge::Envelope envelope;
    std::shared_ptr<grpc_edge::CallHandle> handle;
    std::shared_ptr<grpc_edge::StreamHandle> stream;
  };

  void called(std::shared_ptr<grpc_edge::CallHandle> call, grpc_edge::Envelope envelope,
              std::optional<grpc::ByteBuffer> message) override {
    News news{"called", call->id(), message ? text_of(*message) : "", message.has_value(), 0, std::move(envelope), call, {}};
    put(std::move(news));
  }
  void message(std::uint64_t call, std::optional<grpc::ByteBuffer> message) override {
    put({"message", call, message ? text_of(*message) : "", message.has_value(), 0, {}, {}, {}});
  }
  void written(std::uint64_t call, bool is_written) override { put({"written", call, "", is_written, 0, {}, {}, {}}); }
  void over(std::uint64_t call, bool is_cancelled) override { put({"over", call, "", is_cancelled, 0, {}, {}, {}}); }
  void streamed(std::shared_ptr<grpc_edge::StreamHandle> stream, grpc_edge::Envelope envelope, std::uint64_t number,
                grpc::ByteBuffer message) override {
    put({"streamed", stream->id(), text_of(message), false, number, std::move(envelope), {}, stream});
  }
  void internal(grpc_edge::InternalEnd end) override { put({"internal", 0, end.request_id, false, end.fault, {}, {}, {}}); }

  // The next news of that kind that nobody has waited for.
  News wait(const std::string& kind) {
    std::unique_lock lock(mutex_);
    std::optional<News> found;
    come_.wait(lock, [&] {
      for (auto each = news_.begin(); each != news_.end(); ++each) {
        if (each->kind != kind) continue;
        found = *each;
        news_.erase(each);
        return true;
      }
      return false;
    });
    return *found;
  }
  std::size_t count(const std::string& kind) {
    const std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(
        std::count_if(news_.begin(), news_.end(), [&](const News& each) { return each.kind == kind; }));
  }

 private:
  void put(News news) {
    const std::lock_guard lock(mutex_);
    news_.push_back(std::move(news));
    come_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable come_;
  std::vector<News> news_;
};

// Calls with whatever bytes.
class Client {
 public:
  using Stream = grpc::GenericClientAsyncReaderWriter;

  explicit Client(int port, const std::shared_ptr<grpc::ChannelCredentials>& credentials = grpc::InsecureChannelCredentials())
      : channel_(grpc::CreateChannel("127.0.0.1:" + std::to_string(port), credentials)), stub_(channel_) {}

  grpc::Status call(const std::string& message, std::string& reply, grpc::ClientContext& context,
                    const std::string& path = kModelInfer) {
    grpc::CompletionQueue queue;
    const grpc::ByteBuffer bytes = buffer_of(message);
    auto reader = stub_.PrepareUnaryCall(&context, path, bytes, &queue);
    reader->StartCall();
    grpc::ByteBuffer answer;
    grpc::Status status;
    reader->Finish(&answer, &status, nullptr);
    next(queue);
    if (status.ok()) reply = text_of(answer);
    return status;
  }

  grpc::Status call(const std::string& message, const std::string& path = kModelInfer) {
    grpc::ClientContext context;
    std::string reply;
    return call(message, reply, context, path);
  }

  std::future<grpc::Status> begin(const std::string& message, const std::string& path = kModelInfer) {
    return std::async(std::launch::async, [this, message, path] { return call(message, path); });
  }

  grpc::GenericStub& stub() { return stub_; }

  static bool next(grpc::CompletionQueue& queue) {
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    return ok;
  }

 private:
  std::shared_ptr<grpc::Channel> channel_;
  grpc::GenericStub stub_;
};

// A stream whose operations are done one after another.
class StreamClient {
 public:
  StreamClient(Client& client, const std::string& path = kModelStreamInfer)
      : stream_(client.stub().PrepareCall(&context, path, &queue_)) {
    stream_->StartCall(nullptr);
    Client::next(queue_);
  }

  bool write(const std::string& message) {
    stream_->Write(buffer_of(message), nullptr);
    return Client::next(queue_);
  }
  bool write(const inference::ModelInferRequest& request) { return write(request.SerializeAsString()); }
  void writes_done() {
    stream_->WritesDone(nullptr);
    Client::next(queue_);
  }
  std::optional<std::string> read() {
    grpc::ByteBuffer message;
    stream_->Read(&message, nullptr);
    if (!Client::next(queue_)) return std::nullopt;
    return text_of(message);
  }
  inference::ModelStreamInferResponse answer() {
    inference::ModelStreamInferResponse response;
    EXPECT_TRUE(response.ParseFromString(read().value_or("?")));
    return response;
  }
  grpc::Status finish() {
    grpc::Status status;
    stream_->Finish(&status, nullptr);
    Client::next(queue_);
    return status;
  }

  grpc::ClientContext context;

 private:
  grpc::CompletionQueue queue_;
  std::unique_ptr<Client::Stream> stream_;
};

class EdgeTest : public ::testing::Test {
 protected:
  EdgeTest() {
    Limits limits;
    limits.max_batch_rows = 4;
    limits.max_queue_rows = 8;
    served.model = "digit_mlp";
    served.number = "3";
    served.input.name = "image";
    served.input.shapes = {{{2}, true}};
    served.input.minimum = 0.0F;
    served.input.maximum = 1.0F;
    served.output_name = "sum";
    served.output_shape = {1};
    served.receipt = {{"seqserve_engine", "torch"}};
    served.ledger = std::make_shared<grpc_edge::RequestLedger>(std::vector<std::uint64_t>{1'000'000});
    served.queue = Version::make({2, 1}, limits, [this](auto... batch) { run(batch...); }, clock);
    served.queue->open();
    call_limits.max_message_bytes = 1 << 20;
  }

  // Before anything that a call may still use.
  ~EdgeTest() override { server.reset(); }

  void run(const float* rows, std::size_t count, float* outputs) {
    ++batches;
    computed_by.insert(std::this_thread::get_id());
    if (wait.valid()) wait.wait();
    for (std::size_t row = 0; row < count; ++row) outputs[row] = rows[2 * row] + rows[2 * row + 1] + add;
  }

  // Quick batches may run on the server's own thread, or all on a runner's.
  void start(bool runs_anywhere = false) {
    if (runs_anywhere) served.queue->run_anywhere();
    runners = std::make_unique<Runners>(1, clock);
    runners->run(*served.queue);
    server = std::make_unique<grpc_edge::InferServer>(call_limits, clock, elsewhere, *runners);
    const auto version = std::make_shared<grpc_edge::ServedVersion>(served);
    server->route({{"digit_mlp", "", version}, {"digit_mlp", "3", version}});
    port = server->listen(listening);
  }

  // Batches stay in the engine until `let_go`.
  void hold() { wait = held.get_future().share(); }
  void let_go() { held.set_value(); }
  void until(const std::function<bool()>& is_so) const {
    while (!is_so()) std::this_thread::sleep_for(1ms);
  }

  static inference::ModelInferRequest good() { return raw_request({2, 2}, {0.25F, 0.5F, 1, 1}); }
  static std::string good_bytes() { return good().SerializeAsString(); }

  SteadyClock clock;
  grpc_edge::ServedVersion served;
  grpc_edge::CallLimits call_limits;
  grpc_edge::Listening listening;
  FakeElsewhere elsewhere;
  std::atomic<int> batches{0};
  // Of one version at a time, whose batches never overlap.
  std::set<std::thread::id> computed_by;
  std::atomic<float> add{0.0F};
  std::promise<void> held;
  std::shared_future<void> wait;
  std::unique_ptr<Runners> runners;
  std::unique_ptr<grpc_edge::InferServer> server;
  int port = 0;
};

}  // namespace seqserve::testing
