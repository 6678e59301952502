// Native streams: hot messages, those of somebody elsewhere, refusals, and every way to end.
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "edge_fixture.h"
#include "grpc_edge/infer_stream.h"

namespace seqserve::testing {
namespace {

using grpc_edge::AnswerableStream;
using grpc_edge::Pairs;

inference::ModelInferRequest request_with(const std::string& id, float number = 0.5F) {
  auto request = raw_request({1, 2}, {number, 0});
  request.set_id(id);
  return request;
}

class InferStreams : public EdgeTest {};

TEST_F(InferStreams, EachMessageHasAReply) {
  start();
  Client client(port);
  StreamClient stream(client);
  std::set<std::string> ids;
  for (const char* id : {"a", "b", "c"}) stream.write(request_with(id));
  for (int message = 0; message < 3; ++message) {
    const auto answer = stream.answer();
    EXPECT_EQ(answer.error_message(), "");
    EXPECT_TRUE(answer.infer_response().parameters().at("triton_final_response").bool_param());
    EXPECT_EQ(answer.infer_response().raw_output_contents(0), floats({0.5F}));
    ids.insert(answer.infer_response().id());
  }
  EXPECT_EQ(ids, (std::set<std::string>{"a", "b", "c"}));
  stream.writes_done();
  EXPECT_EQ(stream.read(), std::nullopt);
  EXPECT_TRUE(stream.finish().ok());
  EXPECT_EQ(stream.context.GetServerTrailingMetadata().count("x-request-id"), 1U);
  EXPECT_EQ(served.ledger->read().codes[StatusCode::OK], 3U);
}

TEST_F(InferStreams, ARefusedMessageIsToldAndTheStreamGoesOn) {
  start();
  Client client(port);
  StreamClient stream(client);
  served.queue->pause();
  stream.write(request_with("a"));
  const auto refused = stream.answer();
  EXPECT_EQ(refused.error_message(), "what runs this model is away; it is being brought back");
  EXPECT_EQ(refused.infer_response().id(), "a");
  served.queue->open();
  add = std::nanf("");
  stream.write(request_with("b"));
  const auto internal = stream.answer();
  EXPECT_EQ(internal.error_message(), "internal error; request id " + elsewhere.wait("internal").text);
  add = 0.0F;
  stream.write(request_with("c"));
  EXPECT_EQ(stream.answer().error_message(), "");
}

TEST_F(InferStreams, WhatIsNotHotIsAnsweredElsewhere) {
  start();
  Client client(port);
  StreamClient stream(client);
  stream.write(std::string("no request"));
  const auto news = elsewhere.wait("streamed");
  EXPECT_EQ(news.text, "no request");
  EXPECT_EQ(news.number, 1U);
  stream.write(request_with("hot"));
  EXPECT_EQ(stream.answer().infer_response().id(), "hot") << "one does not wait for the other";
  for (int time = 0; time < 2; ++time) {
    news.stream->tell(&AnswerableStream::answer, news.number, buffer_of("reply"));
  }
  EXPECT_EQ(stream.read(), "reply");
  stream.writes_done();
  EXPECT_EQ(stream.read(), std::nullopt) << "once";
  EXPECT_TRUE(stream.finish().ok());
  EXPECT_FALSE(elsewhere.wait("over").flag);
}

TEST_F(InferStreams, ElsewhereMayEndIt) {
  start();
  Client client(port);
  StreamClient stream(client);
  stream.write(std::string("?"));
  const auto news = elsewhere.wait("streamed");
  news.stream->tell(&AnswerableStream::refuse, int{StatusCode::PERMISSION_DENIED}, "not any more", Pairs{{"key", "value"}});
  news.stream->tell(&AnswerableStream::answer, news.number, buffer_of("last"));
  EXPECT_EQ(stream.read(), "last");
  EXPECT_EQ(stream.read(), std::nullopt);
  const grpc::Status status = stream.finish();
  EXPECT_EQ(status.error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(status.error_message(), "not any more");
}

TEST_F(InferStreams, ADrainAnswersWhatWasTakenAndEndsIt) {
  hold();
  start();
  Client client(port);
  StreamClient stream(client);
  stream.write(request_with("a"));
  until([&] { return batches == 1; });
  server->drain();
  let_go();
  EXPECT_EQ(stream.answer().infer_response().id(), "a");
  EXPECT_EQ(stream.read(), std::nullopt);
  const grpc::Status status = stream.finish();
  EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(status.error_message(), "the gateway is shutting down; what has no reply was not answered");
  StreamClient late(client);
  EXPECT_EQ(late.finish().error_code(), StatusCode::UNAVAILABLE);
}

TEST_F(InferStreams, RowsOfACallerWhoLeavesLeaveTheQueue) {
  hold();
  start();
  Client client(port);
  auto busy = client.begin(good_bytes());
  until([&] { return batches == 1; });
  StreamClient stream(client);
  for (const char* id : {"a", "b"}) stream.write(request_with(id));
  until([&] { return served.queue->waiting_rows() == 2; });
  stream.context.TryCancel();
  until([&] { return served.queue->waiting_rows() == 0; });
  let_go();
  EXPECT_TRUE(busy.get().ok());
  EXPECT_EQ(batches, 1);
  until([&] { return served.ledger->read().in_flight == 0; });
  EXPECT_EQ(served.ledger->read().codes[StatusCode::CANCELLED], 2U);
}

// Each ends on the server's thread while a runner's brings its answers.
TEST_F(InferStreams, CallersMayLeaveAmongTheirAnswers) {
  start();
  const auto leave_often = [this](unsigned seed) {
    Client client(port);
    std::minstd_rand random(seed);
    for (int time = 0; time < 150; ++time) {
      StreamClient stream(client);
      for (unsigned message = random() % 4; message < 4; ++message) stream.write(request_with("a"));
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 400));
      stream.context.TryCancel();
      EXPECT_EQ(stream.finish().error_code(), StatusCode::CANCELLED);
    }
  };
  std::vector<std::thread> callers;
  for (unsigned seed = 1; seed <= 4; ++seed) callers.emplace_back(leave_often, seed);
  for (std::thread& caller : callers) caller.join();
  server->stop(1s);
  EXPECT_EQ(served.ledger->read().in_flight, 0U);
}

TEST_F(InferStreams, MessagesOfACallerWhoHasLeftDoNotKeepItFromStopping) {
  hold();
  start();
  Client client(port);
  auto busy = client.begin(good_bytes());
  until([&] { return batches == 1; });
  auto request = request_with("a");
  (*request.mutable_parameters())["timeout"].set_int64_param(10'000);
  for (int time = 0; time < 100; ++time) {
    StreamClient stream(client);
    for (int message = 0; message < 3; ++message) stream.write(request);
    stream.context.TryCancel();
    EXPECT_EQ(stream.finish().error_code(), StatusCode::CANCELLED);
  }
  std::this_thread::sleep_for(2 * grpc_edge::kDeadlineSlack);
  server->stop(10ms);
  EXPECT_EQ(served.ledger->read().in_flight, 0U);
  EXPECT_FALSE(busy.get().ok());
  let_go();
}

TEST_F(InferStreams, AMessageMayHaveLessTimeThanItsStream) {
  hold();
  start();
  Client client(port);
  StreamClient stream(client);
  auto request = request_with("a");
  (*request.mutable_parameters())["timeout"].set_int64_param(10'000);
  for (int time = 0; time < 2; ++time) {
    stream.write(request);
    EXPECT_EQ(stream.answer().error_message(), "no answer within 0.01 s");
  }
  let_go();
  stream.write(request_with("b"));
  EXPECT_EQ(stream.answer().infer_response().id(), "b");
}

TEST_F(InferStreams, ReadingStopsWhereTooMuchIsInFlight) {
  start();
  Client client(port);
  StreamClient stream(client);
  const std::size_t most = grpc_edge::kMostInFlight;
  for (std::size_t message = 0; message < most + 10; ++message) stream.write("no " + std::to_string(message));
  FakeElsewhere::News news;
  for (std::size_t message = 0; message < most; ++message) news = elsewhere.wait("streamed");
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(elsewhere.count("streamed"), 0U);
  news.stream->tell(&AnswerableStream::answer, news.number, buffer_of("reply"));
  EXPECT_EQ(elsewhere.wait("streamed").number, most + 1);
}

TEST_F(InferStreams, StopsWithStreamsOpen) {
  hold();
  start();
  Client client(port);
  StreamClient idle(client);
  StreamClient computed(client);
  computed.write(request_with("a"));
  until([&] { return batches == 1; });
  StreamClient other(client);
  other.write(std::string("?"));
  const auto news = elsewhere.wait("streamed");
  server->stop(10ms);
  for (StreamClient* stream : {&idle, &computed, &other}) EXPECT_FALSE(stream->finish().ok());
  news.stream->tell(&AnswerableStream::answer, news.number, buffer_of("too late"));
  EXPECT_EQ(elsewhere.count("over"), 1U);
  let_go();
}

}  // namespace
}  // namespace seqserve::testing
