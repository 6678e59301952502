// google.rpc.Status as it is written, read by protobuf's own parser.
#include <gtest/gtest.h>

#include "error_details.pb.h"
#include "wire/status_details.h"

namespace seqserve::testing {
namespace {

TEST(StatusDetails, HoldWhatTheyAreGiven) {
  const std::string bytes = wire::serialize({8, "the queue is full", "OVERLOADED", "abc", 1'500'000'000});
  google::rpc::Status status;
  ASSERT_TRUE(status.ParseFromString(bytes));
  EXPECT_EQ(status.code(), 8);
  EXPECT_EQ(status.message(), "the queue is full");
  ASSERT_EQ(status.details_size(), 2);
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(status.details(0).UnpackTo(&info));
  EXPECT_EQ(info.reason(), "OVERLOADED");
  EXPECT_EQ(info.domain(), "seqserve");
  EXPECT_EQ(info.metadata().at("request_id"), "abc");
  google::rpc::RetryInfo retry;
  ASSERT_TRUE(status.details(1).UnpackTo(&retry));
  EXPECT_EQ(retry.retry_delay().seconds(), 1);
  EXPECT_EQ(retry.retry_delay().nanos(), 500'000'000);
}

TEST(StatusDetails, NeedNoTime) {
  google::rpc::Status status;
  ASSERT_TRUE(status.ParseFromString(wire::serialize({4, "late", "DEADLINE_EXCEEDED", std::string(300, 'x'), {}})));
  EXPECT_EQ(status.details_size(), 1);
}

TEST(StatusDetails, AreWhatProtobufWrites) {
  google::rpc::Status status;
  status.set_code(14);
  status.set_message("away");
  google::rpc::ErrorInfo info;
  info.set_reason("ENGINE_UNAVAILABLE");
  info.set_domain("seqserve");
  (*info.mutable_metadata())["request_id"] = "abc";
  status.add_details()->PackFrom(info);
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_nanos(0);
  status.add_details()->PackFrom(retry);
  EXPECT_EQ(wire::serialize({14, "away", "ENGINE_UNAVAILABLE", "abc", 0}), status.SerializeAsString());
}

}  // namespace
}  // namespace seqserve::testing
