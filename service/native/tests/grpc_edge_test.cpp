// Hot calls over a real connection: answers, refusals, callers who leave, and a stop in the middle.
#include "edge_fixture.h"
#include "grpc_edge/engine_fault.h"

namespace seqserve::testing {
namespace {

class GrpcEdge : public EdgeTest {};

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
  EXPECT_EQ(answer.parameters().at("seqserve_engine").string_param(), "torch");
}

std::string request_id(const grpc::ClientContext& context) {
  const auto found = context.GetServerTrailingMetadata().find("x-request-id");
  return found == context.GetServerTrailingMetadata().end() ? "" : std::string(found->second.data(), found->second.size());
}

TEST_F(GrpcEdge, WhatAnEngineKnowsOfItsFailureIsToldToCallers) {
  Limits limits;
  limits.max_batch_rows = 4;
  const auto fail = [](auto...) {
    throw grpc_edge::EngineFault(7, StatusCode::RESOURCE_EXHAUSTED, "no memory left", "OVERLOADED", 2s);
  };
  served.queue = Version::make({2, 1}, limits, fail, clock);
  served.queue->open();
  start();
  const grpc::Status status = Client(port).call(good_bytes());
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(status.error_message(), "no memory left");
  EXPECT_NE(status.error_details().find("OVERLOADED"), std::string::npos);
  EXPECT_NE(status.error_details().find("RetryInfo"), std::string::npos);
}

TEST_F(GrpcEdge, AnswersWithRowsAndCountsThem) {
  start();
  grpc::ClientContext context;
  std::string reply;
  const grpc::Status status = Client(port).call(good_bytes(), reply, context);
  ASSERT_TRUE(status.ok()) << status.error_message();
  expect_sums(reply);
  EXPECT_EQ(request_id(context).size(), 32U);
  server.reset();
  const grpc_edge::RequestSnapshot counts = served.ledger->read();
  EXPECT_EQ(counts.codes[StatusCode::OK], 1U);
  EXPECT_EQ(counts.examples, 2U);
  EXPECT_EQ(counts.in_flight, 0U);
}

void ask_often(int port, const std::string& message) {
  Client client(port);
  for (int call = 0; call < 20; ++call) {
    grpc::ClientContext context;
    std::string reply;
    ASSERT_TRUE(client.call(message, reply, context).ok());
    expect_sums(reply);
  }
}

TEST_F(GrpcEdge, HandsItsBatchesToARunner) {
  start();
  ask_often(port, good_bytes());
  server.reset();
  EXPECT_EQ(computed_by.size(), 1U);
}

TEST_F(GrpcEdge, ComputesByItselfWhatMayRunAnywhereAndHasProvedQuick) {
  start(/*runs_anywhere=*/true);
  ask_often(port, good_bytes());
  server.reset();
  EXPECT_EQ(computed_by.size(), 2U);  // the runner's thread, and then the server's
}

TEST_F(GrpcEdge, KeepsTheCallersIdWhereItIsFitForLogs) {
  start();
  for (const auto& [given, is_kept] : {std::pair{"mine-1", true}, {"not mine", false}, {"", false}}) {
    grpc::ClientContext context;
    context.AddMetadata("x-request-id", given);
    std::string reply;
    EXPECT_TRUE(Client(port).call(good_bytes(), reply, context).ok());
    EXPECT_EQ(request_id(context) == given, is_kept) << given;
  }
}

TEST_F(GrpcEdge, RefusesWithReasonAndTime) {
  start();
  served.queue->pause();
  const grpc::Status status = Client(port).call(good_bytes());
  EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_NE(status.error_details().find("ENGINE_UNAVAILABLE"), std::string::npos);
  EXPECT_EQ(served.ledger->read().codes[StatusCode::UNAVAILABLE], 1U);
  EXPECT_EQ(served.ledger->read().failed, 1U);
}

TEST_F(GrpcEdge, AFullQueueIsOverloadedAndSaysHowFull) {
  hold();
  start();
  Client client(port);
  auto computed = client.begin(good_bytes());
  until([&] { return batches == 1; });
  std::vector<std::future<grpc::Status>> waiting;
  for (int caller = 0; caller < 4; ++caller) waiting.push_back(client.begin(good_bytes()));
  until([&] { return served.queue->waiting_rows() == 8; });
  const grpc::Status status = client.call(good_bytes());
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(status.error_message(), "8 examples wait, 2 more would pass the limit of 8");
  let_go();
  EXPECT_TRUE(computed.get().ok());
  for (auto& each : waiting) EXPECT_TRUE(each.get().ok());
}

TEST(Failure, OfMemoryThatIsFullBeforeTheQueueHasWordsOfItsOwn) {
  const Refused refused{Refusal::full, 57, std::chrono::seconds(2), std::size_t{1} << 30};
  const grpc_edge::Failure failure = grpc_edge::failure_of(refused, Limits{}, 2, kNever);
  EXPECT_EQ(failure.code, StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(failure.reason, "OVERLOADED");
  EXPECT_EQ(failure.retry_after, std::chrono::seconds(2));
  EXPECT_EQ(failure.words, "57 examples wait, and the 1073741824 bytes in which this model's batches are gathered have "
                           "no room for 2 more");
}

TEST_F(GrpcEdge, NonsenseFromTheEngineIsInternalAndLeftForTheLog) {
  served.sum_tolerance = 1e-3F;
  start();
  Client client(port);
  for (const float wrong : {std::nanf(""), std::numeric_limits<float>::infinity(), 0.5F}) {
    add = wrong;
    const grpc::Status status = client.call(good_bytes());
    EXPECT_EQ(status.error_code(), StatusCode::INTERNAL);
    EXPECT_EQ(status.error_message(), "internal error; request id " + elsewhere.wait("internal").text);
  }
  add = 0.0F;
  EXPECT_TRUE(client.call(raw_request({1, 2}, {0.25F, 0.75F}).SerializeAsString()).ok());
}

TEST_F(GrpcEdge, CompressedMessagesAreNotInflated) {
  start();
  grpc::ClientContext context;
  context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  std::string reply;
  const auto request = raw_request({2, 2}, {0, 0, 0, 0}).SerializeAsString() + std::string(100000, '\0');
  EXPECT_FALSE(Client(port).call(request, reply, context).ok());
  EXPECT_EQ(batches, 0);
}

TEST_F(GrpcEdge, WhatIsTooLongIsRefusedByGrpc) {
  start();
  EXPECT_EQ(Client(port).call(std::string(2 << 20, 'x')).error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(Client(port).call(good_bytes()).ok());
}

TEST_F(GrpcEdge, ACallerWhoLeavesNeverReachesTheEngine) {
  hold();
  start();
  Client client(port);
  auto busy = client.begin(good_bytes());
  until([&] { return batches == 1; });
  grpc::ClientContext context;
  auto leaver = std::async(std::launch::async, [&] {
    std::string reply;
    return client.call(good_bytes(), reply, context);
  });
  until([&] { return served.queue->waiting_rows() == 2; });
  context.TryCancel();
  EXPECT_EQ(leaver.get().error_code(), StatusCode::CANCELLED);
  until([&] { return served.queue->waiting_rows() == 0; });
  let_go();
  EXPECT_TRUE(busy.get().ok());
  EXPECT_EQ(served.queue->ledger().read().dropped[static_cast<std::size_t>(Drop::departed)], 2U);
  EXPECT_EQ(batches, 1);
  EXPECT_EQ(served.ledger->read().codes[StatusCode::CANCELLED], 1U);
}

TEST_F(GrpcEdge, TheRequestsOwnTimeoutEndsItWhereverItIs) {
  hold();
  start();
  Client client(port);
  auto request = good();
  (*request.mutable_parameters())["timeout"].set_int64_param(100'000);
  auto computed = client.begin(request.SerializeAsString());
  until([&] { return batches == 1; });
  const grpc::Status status = computed.get();
  EXPECT_EQ(status.error_code(), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(status.error_message(), "no answer within 0.1 s");
  let_go();
}

TEST_F(GrpcEdge, WhoSetsNoTimeHasTheDefault) {
  call_limits.default_timeout = 50ms;
  hold();
  start();
  EXPECT_EQ(Client(port).call(good_bytes()).error_message(), "no answer within 0.05 s");
  let_go();
}

TEST_F(GrpcEdge, ADrainRefusesAndCounts) {
  start();
  server->drain();
  const grpc::Status status = Client(port).call(good_bytes());
  EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(status.error_message(), "the gateway is shutting down");
  EXPECT_EQ(server->turned_away(), 1U);
  EXPECT_EQ(batches, 0);
}

TEST_F(GrpcEdge, WhoWaitsForAnAbortedVersionHearsWhy) {
  hold();
  start();
  Client client(port);
  auto first = client.begin(good_bytes());
  until([&] { return batches == 1; });
  served.last_words->say({StatusCode::UNAVAILABLE, "the engine is gone", "ENGINE_UNAVAILABLE", Time{1s}, 0});
  served.queue->abort();
  const grpc::Status status = first.get();
  EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(status.error_message(), "the engine is gone");
  EXPECT_NE(status.error_details().find("ENGINE_UNAVAILABLE"), std::string::npos);
  let_go();
}

TEST_F(GrpcEdge, AnAbortThatSaysNothingIsAShutdown) {
  hold();
  start();
  Client client(port);
  auto first = client.begin(good_bytes());
  until([&] { return batches == 1; });
  served.queue->abort();
  EXPECT_EQ(first.get().error_message(), "the gateway stopped before this request was answered");
  let_go();
}

TEST_F(GrpcEdge, AnotherTableServesAnotherVersion) {
  start();
  Client client(port);
  EXPECT_TRUE(client.call(good_bytes()).ok());
  server->route({});
  auto handed_over = client.begin(good_bytes());
  elsewhere.wait("called").handle->tell(&grpc_edge::Answerable::finish, int{StatusCode::NOT_FOUND}, "none", grpc_edge::Pairs{});
  EXPECT_EQ(handed_over.get().error_code(), StatusCode::NOT_FOUND);
}

TEST_F(GrpcEdge, StopsWithCallsInFlight) {
  hold();
  start();
  Client client(port);
  auto computed = client.begin(good_bytes());
  until([&] { return batches == 1; });
  auto waiting = client.begin(good_bytes());
  until([&] { return served.queue->waiting_rows() != 0; });
  server->stop(10ms);
  EXPECT_FALSE(computed.get().ok());
  EXPECT_FALSE(waiting.get().ok());
  let_go();
  served.queue->close();
  EXPECT_TRUE(served.queue->wait_drained(10s));
}

TEST_F(GrpcEdge, WaitsForThoseInFlightWithinTheGrace) {
  hold();
  start();
  Client client(port);
  auto computed = client.begin(good_bytes());
  until([&] { return batches == 1; });
  auto stopping = std::async(std::launch::async, [&] { server->stop(10s); });
  std::this_thread::sleep_for(20ms);
  let_go();
  EXPECT_TRUE(computed.get().ok());
  stopping.get();
}

}  // namespace
}  // namespace seqserve::testing
