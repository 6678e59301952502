// The edge over a real connection: answers, refusals, callers who leave, and a stop in the middle.
#include <google/protobuf/util/message_differencer.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <future>

#include "core/runners.h"
#include "fakes.h"
#include "grpc_edge/infer_server.h"
#include "messages.h"

namespace seqserve::testing {
namespace {

using grpc::StatusCode;

// One call of ModelInfer with whatever bytes.
class Client {
 public:
  explicit Client(int port)
      : channel_(grpc::CreateChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials())),
        stub_(channel_) {}

  grpc::Status call(const std::string& message, std::string& reply, grpc::ClientContext& context) {
    grpc::CompletionQueue queue;
    const grpc::Slice slice(message);
    const grpc::ByteBuffer bytes(&slice, 1);
    auto reader = stub_.PrepareUnaryCall(&context, "/inference.GRPCInferenceService/ModelInfer", bytes, &queue);
    reader->StartCall();
    grpc::ByteBuffer answer;
    grpc::Status status;
    reader->Finish(&answer, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    grpc::Slice whole;
    if (status.ok() && answer.DumpToSingleSlice(&whole).ok()) {
      reply.assign(reinterpret_cast<const char*>(whole.begin()), whole.size());
    }
    return status;
  }

  grpc::Status call(const std::string& message) {
    grpc::ClientContext context;
    std::string reply;
    return call(message, reply, context);
  }

 private:
  std::shared_ptr<grpc::Channel> channel_;
  grpc::GenericStub stub_;
};

class GrpcEdge : public ::testing::Test {
 protected:
  GrpcEdge() {
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
    served.queue = Version::make({2, 1}, limits, [this](auto... batch) { run(batch...); }, clock);
    served.queue->open();
  }

  void run(const float* rows, std::size_t count, float* outputs) {
    ++batches;
    if (wait.valid()) wait.wait();
    for (std::size_t row = 0; row < count; ++row) outputs[row] = rows[2 * row] + rows[2 * row + 1];
  }

  // On the server's own thread, or on a runner's.
  void start(bool is_inline) {
    const auto resolve = [this](std::string_view model, std::string_view) {
      return model == served.model ? &served : nullptr;
    };
    if (!is_inline) {
      runners = std::make_unique<Runners>(1, clock);
      runners->run(*served.queue);
    }
    std::vector<VersionPtr> own;
    if (is_inline) own.push_back(served.queue);
    server = std::make_unique<grpc_edge::InferServer>(grpc_edge::Listening{}, clock, resolve, own);
  }

  static std::string good() { return raw_request({2, 2}, {0.25F, 0.5F, 1, 1}).SerializeAsString(); }

  SteadyClock clock;
  grpc_edge::ServedVersion served;
  std::atomic<int> batches{0};
  std::shared_future<void> wait;
  std::unique_ptr<Runners> runners;
  std::unique_ptr<grpc_edge::InferServer> server;
};

void expect_sums(const std::string& reply) {
  inference::ModelInferResponse answer;
  ASSERT_TRUE(answer.ParseFromString(reply));
  EXPECT_EQ(answer.model_name(), "digit_mlp");
  EXPECT_EQ(answer.model_version(), "3");
  EXPECT_EQ(answer.id(), "abc-1");
  EXPECT_EQ(answer.outputs(0).name(), "sum");
  EXPECT_EQ(answer.outputs(0).shape(0), 2);
  EXPECT_EQ(answer.raw_output_contents(0), floats({0.75F, 2}));
  EXPECT_EQ(answer.parameters().at("seqserve_batch_size").int64_param(), 2);
}

TEST_F(GrpcEdge, AnswersOnItsOwnThreadAndOnARunners) {
  for (const bool is_inline : {true, false}) {
    start(is_inline);
    grpc::ClientContext context;
    std::string reply;
    const grpc::Status status = Client(server->port()).call(good(), reply, context);
    ASSERT_TRUE(status.ok()) << status.error_message();
    expect_sums(reply);
    server.reset();
  }
}

TEST_F(GrpcEdge, RefusesWhatIsWrong) {
  start(true);
  Client client(server->port());
  EXPECT_EQ(client.call(good().substr(0, 20)).error_code(), StatusCode::INVALID_ARGUMENT);
  auto other = raw_request({2}, {0, 0});
  other.set_model_name("nobody");
  EXPECT_EQ(client.call(other.SerializeAsString()).error_code(), StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(client.call(raw_request({2}, {0, 7}).SerializeAsString()).error_code(), StatusCode::UNIMPLEMENTED)
      << "who has words for it is elsewhere";
  served.queue->pause();
  EXPECT_EQ(client.call(good()).error_code(), StatusCode::UNAVAILABLE);
  served.queue->open();
  EXPECT_TRUE(client.call(good()).ok());
  EXPECT_EQ(batches, 1);
}

TEST_F(GrpcEdge, CompressedMessagesAreNotInflated) {
  start(true);
  grpc::ClientContext context;
  context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  std::string reply;
  const auto request = raw_request({2, 2}, {0, 0, 0, 0}).SerializeAsString() + std::string(100000, '\0');
  EXPECT_FALSE(Client(server->port()).call(request, reply, context).ok());
  EXPECT_EQ(batches, 0);
}

TEST_F(GrpcEdge, ACallerWhoLeavesNeverReachesTheEngine) {
  std::promise<void> goes_on;
  wait = goes_on.get_future().share();
  start(false);
  Client client(server->port());
  auto busy = std::async(std::launch::async, [&] { return client.call(good()); });
  while (batches == 0) std::this_thread::sleep_for(1ms);
  grpc::ClientContext context;
  auto leaver = std::async(std::launch::async, [&] {
    std::string reply;
    return client.call(good(), reply, context);
  });
  while (served.queue->waiting_rows() == 0) std::this_thread::sleep_for(1ms);
  context.TryCancel();
  EXPECT_EQ(leaver.get().error_code(), StatusCode::CANCELLED);
  while (served.queue->waiting_rows() != 0) std::this_thread::sleep_for(1ms);
  goes_on.set_value();
  EXPECT_TRUE(busy.get().ok());
  EXPECT_EQ(served.queue->ledger().read().dropped[static_cast<std::size_t>(Drop::departed)], 2U);
  EXPECT_EQ(batches, 1);
}

TEST_F(GrpcEdge, StopsWithCallsInFlight) {
  std::promise<void> goes_on;
  wait = goes_on.get_future().share();
  start(false);
  Client client(server->port());
  auto computed = std::async(std::launch::async, [&] { return client.call(good()); });
  while (batches == 0) std::this_thread::sleep_for(1ms);
  auto waiting = std::async(std::launch::async, [&] { return client.call(good()); });
  while (served.queue->waiting_rows() == 0) std::this_thread::sleep_for(1ms);
  server->stop(10ms);
  EXPECT_FALSE(computed.get().ok());
  EXPECT_FALSE(waiting.get().ok());
  goes_on.set_value();
  served.queue->close();
  EXPECT_TRUE(served.queue->wait_drained(10s));
}

TEST_F(GrpcEdge, WaitsForThoseInFlightWithinTheGrace) {
  std::promise<void> goes_on;
  wait = goes_on.get_future().share();
  start(false);
  Client client(server->port());
  auto computed = std::async(std::launch::async, [&] { return client.call(good()); });
  while (batches == 0) std::this_thread::sleep_for(1ms);
  auto stopping = std::async(std::launch::async, [&] { server->stop(10s); });
  std::this_thread::sleep_for(20ms);
  goes_on.set_value();
  EXPECT_TRUE(computed.get().ok());
  stopping.get();
}

}  // namespace
}  // namespace seqserve::testing
