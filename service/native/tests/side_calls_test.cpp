// Calls that somebody elsewhere answers: of any method, unary and streaming, in whatever order things come.
#include "edge_fixture.h"

namespace seqserve::testing {
namespace {

using grpc_edge::Answerable;
using grpc_edge::Pairs;

constexpr char kMethod[] = "/some.Service/Method";

class SideCalls : public EdgeTest {};

TEST_F(SideCalls, AnUnaryCallIsReadWhenItIsWanted) {
  start();
  Client client(port);
  grpc::ClientContext context;
  context.AddMetadata("key-bin", std::string("\0\xff", 2));
  context.set_deadline(std::chrono::system_clock::now() + 10s);
  std::string reply;
  auto call = std::async(std::launch::async, [&] { return client.call("hello", reply, context, kMethod); });
  const auto news = elsewhere.wait("called");
  EXPECT_EQ(news.envelope.path, kMethod);
  EXPECT_FALSE(news.flag) << "nothing is read of it";
  EXPECT_LE(news.envelope.timeout, 10s + 100ms) << "gRPC sends tenths of a second, rounded up";
  EXPECT_EQ(news.envelope.metadata[0], (std::pair<std::string, std::string>{"key-bin", std::string("\0\xff", 2)}));
  news.handle->tell(&Answerable::read);
  EXPECT_EQ(elsewhere.wait("message").text, "hello");
  news.handle->tell(&Answerable::reply, buffer_of("you too"), Pairs{{"how", "well"}});
  EXPECT_TRUE(call.get().ok());
  EXPECT_EQ(reply, "you too");
  EXPECT_EQ(context.GetServerTrailingMetadata().count("how"), 1U);
  EXPECT_FALSE(elsewhere.wait("over").flag);
}

TEST_F(SideCalls, AStreamIsReadAndWrittenMessageByMessage) {
  start();
  Client client(port);
  StreamClient stream(client, kMethod);
  const auto call = elsewhere.wait("called").handle;
  for (const char* text : {"one", "two"}) {
    stream.write(text);
    call->tell(&Answerable::read);
    EXPECT_EQ(elsewhere.wait("message").text, text);
    call->tell(&Answerable::write, buffer_of(text));
    EXPECT_TRUE(elsewhere.wait("written").flag);
    EXPECT_EQ(stream.read(), text);
  }
  stream.writes_done();
  call->tell(&Answerable::read);
  EXPECT_FALSE(elsewhere.wait("message").flag);
  // A status may follow a message at once.
  call->tell(&Answerable::write, buffer_of("last"));
  call->tell(&Answerable::finish, int{StatusCode::ABORTED}, "enough", Pairs{});
  EXPECT_EQ(stream.read(), "last");
  EXPECT_EQ(stream.finish().error_message(), "enough");
  EXPECT_FALSE(elsewhere.wait("over").flag);
}

TEST_F(SideCalls, WhatIsNoHotRequestComesWithItsMessage) {
  start();
  Client client(port);
  auto unknown = good();
  unknown.set_model_name("nobody");
  for (const std::string& message : {good_bytes().substr(0, 20), unknown.SerializeAsString(), std::string()}) {
    auto call = client.begin(message);
    const auto news = elsewhere.wait("called");
    EXPECT_TRUE(news.flag);
    EXPECT_EQ(news.text, message);
    EXPECT_EQ(news.envelope.path, kModelInfer);
    news.handle->tell(&Answerable::finish, int{StatusCode::INVALID_ARGUMENT}, "no", Pairs{});
    news.handle->tell(&Answerable::reply, buffer_of("too late"), Pairs{});
    EXPECT_EQ(call.get().error_code(), StatusCode::INVALID_ARGUMENT);
    EXPECT_FALSE(elsewhere.wait("over").flag);
  }
}

TEST_F(SideCalls, WithoutAHotPathEveryCallIsElsewhere) {
  start();
  server->set_hot(false);
  Client client(port);
  auto call = client.begin(good_bytes());
  const auto news = elsewhere.wait("called");
  news.handle->tell(&Answerable::reply, buffer_of("answer"), Pairs{});
  EXPECT_TRUE(call.get().ok());
  StreamClient stream(client);
  EXPECT_EQ(elsewhere.wait("called").envelope.path, kModelStreamInfer);
  EXPECT_EQ(batches, 0);
}

TEST_F(SideCalls, ACallerWhoLeavesIsOverAndNobodyHearsAnAnswer) {
  start();
  Client client(port);
  for (const char* path : {kMethod, kModelInfer}) {
    grpc::ClientContext context;
    auto call = std::async(std::launch::async, [&] {
      std::string reply;
      return client.call("?", reply, context, path);
    });
    const auto news = elsewhere.wait("called");
    context.TryCancel();
    EXPECT_EQ(call.get().error_code(), StatusCode::CANCELLED);
    const auto over = elsewhere.wait("over");
    EXPECT_EQ(over.call, news.call);
    EXPECT_TRUE(over.flag);
    news.handle->tell(&Answerable::read);
    news.handle->tell(&Answerable::write, buffer_of("?"));
    news.handle->tell(&Answerable::reply, buffer_of("?"), Pairs{});
    news.handle->tell(&Answerable::finish, 0, "", Pairs{});
  }
}

TEST_F(SideCalls, ACallerWhoLeavesAStreamThatIsBeingReadIsOver) {
  start();
  Client client(port);
  StreamClient stream(client, kMethod);
  const auto call = elsewhere.wait("called").handle;
  call->tell(&Answerable::read);
  stream.context.TryCancel();
  EXPECT_TRUE(elsewhere.wait("over").flag);
}

TEST_F(SideCalls, ThoseBeyondTheLimitAreRefused) {
  call_limits.max_calls_elsewhere = 1;
  start();
  Client client(port);
  auto first = client.begin("?", kMethod);
  const auto news = elsewhere.wait("called");
  for (const char* path : {kMethod, kModelInfer}) {
    const grpc::Status status = client.call("?", path);
    EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_NE(status.error_details().find("OVERLOADED"), std::string::npos);
    EXPECT_NE(status.error_details().find("RetryInfo"), std::string::npos);
  }
  EXPECT_EQ(server->refused_calls(), 1U) << "of the two one asked for inference";
  StreamClient stream(client);
  stream.write(std::string("?"));
  EXPECT_NE(stream.answer().error_message().find("such calls at once"), std::string::npos);
  EXPECT_EQ(server->refused_calls(), 2U);
  EXPECT_TRUE(client.call(good_bytes()).ok()) << "the hot path has its own limits";
  news.handle->tell(&Answerable::reply, buffer_of("!"), Pairs{});
  EXPECT_TRUE(first.get().ok());
  elsewhere.wait("over");
  auto next = client.begin("?", kMethod);
  elsewhere.wait("called").handle->tell(&Answerable::reply, buffer_of("!"), Pairs{});
  EXPECT_TRUE(next.get().ok());
}

TEST_F(SideCalls, MessagesBeyondTheBytesAreRefused) {
  call_limits.max_bytes_elsewhere = 10;
  start();
  Client client(port);
  auto first = client.begin("sixsix");
  const auto waiting = elsewhere.wait("called");
  const grpc::Status refused = client.call("fives");
  EXPECT_EQ(refused.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_NE(refused.error_message().find("10 bytes of such calls' messages"), std::string::npos);
  EXPECT_NE(refused.error_details().find("OVERLOADED"), std::string::npos);
  EXPECT_NE(refused.error_details().find("RetryInfo"), std::string::npos);
  EXPECT_EQ(server->refused_calls(), 1U);

  auto other = client.begin("fives", kMethod);
  elsewhere.wait("called").handle->tell(&Answerable::read);
  EXPECT_FALSE(elsewhere.wait("message").flag) << "nobody gets what there is no room for";
  EXPECT_EQ(other.get().error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(server->refused_calls(), 1U) << "that one did not ask for inference";
  elsewhere.wait("over");

  StreamClient stream(client);
  stream.write(std::string("fives"));
  EXPECT_NE(stream.answer().error_message().find("no room for this one"), std::string::npos);
  EXPECT_EQ(server->refused_calls(), 2U);
  stream.writes_done();
  EXPECT_TRUE(stream.finish().ok());
  EXPECT_EQ(elsewhere.count("over"), 0U) << "nobody there has heard of that stream";
  EXPECT_TRUE(client.call(good_bytes()).ok()) << "the hot path has its own limits";

  waiting.handle->tell(&Answerable::reply, buffer_of("!"), Pairs{});
  EXPECT_TRUE(first.get().ok());
  elsewhere.wait("over");
  auto next = client.begin("fives");
  elsewhere.wait("called").handle->tell(&Answerable::reply, buffer_of("!"), Pairs{});
  EXPECT_TRUE(next.get().ok());
}

TEST_F(SideCalls, AMessageThatIsAnsweredMakesRoomForTheNext) {
  call_limits.max_bytes_elsewhere = 10;
  start();
  Client client(port);
  StreamClient stream(client, kMethod);
  StreamClient native(client);
  const auto call = elsewhere.wait("called").handle;
  for (const char* text : {"sixsix", "second", "thirds"}) {
    stream.write(text);
    call->tell(&Answerable::read);
    EXPECT_EQ(elsewhere.wait("message").text, text);
    call->tell(&Answerable::write, buffer_of(text));
    EXPECT_TRUE(elsewhere.wait("written").flag);
    EXPECT_EQ(stream.read(), text);
    native.write(std::string(text));
    const auto streamed = elsewhere.wait("streamed");
    streamed.stream->tell(&grpc_edge::AnswerableStream::answer, streamed.number, buffer_of(text));
    EXPECT_EQ(native.read(), text);
  }
}

TEST_F(SideCalls, AStreamThatIsRefusedForItsBytesEndsAfterTheMessageThatIsBeingWritten) {
  call_limits.max_bytes_elsewhere = 10;
  start();
  Client client(port);
  StreamClient stream(client, kMethod);
  const auto call = elsewhere.wait("called").handle;
  stream.write(std::string("sixsix"));
  stream.write(std::string("eleven-byte"));
  call->tell(&Answerable::read);
  EXPECT_TRUE(elsewhere.wait("message").flag);
  // Longer than HTTP/2's first window: it is being written until the client reads.
  const std::string answer(1 << 20, 'a');
  call->tell(&Answerable::write, buffer_of(answer));
  call->tell(&Answerable::read);
  EXPECT_FALSE(elsewhere.wait("message").flag);
  EXPECT_EQ(stream.read(), answer);
  EXPECT_EQ(stream.finish().error_code(), StatusCode::RESOURCE_EXHAUSTED);
  elsewhere.wait("over");
}

TEST_F(SideCalls, AMessageThatIsTooLongEndsTheCall) {
  start();
  Client client(port);
  auto call = client.begin(std::string(2 << 20, 'x'), kMethod);
  elsewhere.wait("called").handle->tell(&Answerable::read);
  EXPECT_EQ(call.get().error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(elsewhere.wait("over").flag);
}

TEST_F(SideCalls, CallsThatNobodyAnswersEndWithTheServer) {
  start();
  Client client(port);
  auto unary = client.begin("?", kMethod);
  auto infer = client.begin("?");
  StreamClient stream(client, kMethod);
  for (int call = 0; call < 3; ++call) elsewhere.wait("called");
  server->stop(10ms);
  EXPECT_FALSE(unary.get().ok());
  EXPECT_FALSE(infer.get().ok());
  EXPECT_FALSE(stream.finish().ok());
  EXPECT_EQ(elsewhere.count("over"), 3U);
}

}  // namespace
}  // namespace seqserve::testing
