// The request parser against what protobuf's own code writes: read alike, or left to whoever reads everything.
#include "wire/infer_request.h"

#include <gtest/gtest.h>

#include "messages.h"

namespace seqserve::testing {
namespace {

using wire::InferRequest;
using wire::Verdict;

class InferRequestTest : public ::testing::Test {
 protected:
  Verdict read(const inference::ModelInferRequest& request) { return read(request.SerializeAsString()); }
  Verdict read(std::string message) {
    message_ = std::move(message);
    return wire::parse(bytes_of(message_), parsed);
  }

  InferRequest parsed;

 private:
  std::string message_;
};

TEST_F(InferRequestTest, RawContents) {
  const std::vector<float> numbers{0.5F, 0.25F, 1, 0, 0.75F, 1};
  ASSERT_EQ(read(raw_request({2, 3}, numbers)), Verdict::hot);
  EXPECT_EQ(parsed.model_name, "digit_mlp");
  EXPECT_EQ(parsed.model_version, "3");
  EXPECT_EQ(parsed.id, "abc-1");
  EXPECT_EQ(parsed.input_name, "image");
  EXPECT_EQ(parsed.datatype, "FP32");
  EXPECT_EQ(parsed.shape.rank, 2U);
  EXPECT_EQ(parsed.shape.sizes[0], 2);
  EXPECT_EQ(parsed.shape.sizes[1], 3);
  EXPECT_TRUE(parsed.is_raw);
  EXPECT_EQ(parsed.content.text(), floats(numbers));
  EXPECT_FALSE(parsed.has_output);
  EXPECT_EQ(parsed.timeout_microseconds, 0);
}

TEST_F(InferRequestTest, PackedTypedContents) {
  ASSERT_EQ(read(typed_request({2}, {1.5F, -2})), Verdict::hot);
  EXPECT_FALSE(parsed.is_raw);
  EXPECT_EQ(parsed.content.text(), floats({1.5F, -2}));
}

TEST_F(InferRequestTest, ARequestedOutput) {
  auto request = raw_request({1}, {1});
  request.add_outputs()->set_name("probabilities");
  ASSERT_EQ(read(request), Verdict::hot);
  EXPECT_TRUE(parsed.has_output);
  EXPECT_EQ(parsed.output_name, "probabilities");
}

TEST_F(InferRequestTest, UnknownParametersArePassedOver) {
  auto request = raw_request({1}, {1});
  (*request.mutable_parameters())["priority"].set_uint64_param(7);
  (*request.mutable_parameters())["note"].set_string_param("hello");
  (*request.mutable_parameters())["rate"].set_double_param(0.5);
  (*request.mutable_parameters())["is_urgent"].set_bool_param(true);
  (*request.mutable_parameters())["empty"];
  (*request.mutable_inputs(0)->mutable_parameters())["origin"].set_string_param("camera");
  EXPECT_EQ(read(request), Verdict::hot);
}

TEST_F(InferRequestTest, TheTimeoutIsRead) {
  auto request = raw_request({1}, {1});
  (*request.mutable_parameters())["timeout"].set_int64_param(2500);
  ASSERT_EQ(read(request), Verdict::hot);
  EXPECT_EQ(parsed.timeout_microseconds, 2500);
}

TEST_F(InferRequestTest, ManyParametersAreForElsewhere) {
  auto request = raw_request({1}, {1});
  request.add_outputs()->set_name("probabilities");
  auto& others = *request.mutable_outputs(0)->mutable_parameters();
  for (int number = 0; number < 16; ++number) {
    (*request.mutable_parameters())["one-" + std::to_string(number)].set_int64_param(number);
    if (number != 0) others["one-" + std::to_string(number)].set_int64_param(number);
  }
  (*request.mutable_inputs(0)->mutable_parameters())["origin"].set_string_param("camera");
  ASSERT_EQ(read(request), Verdict::hot);
  others["one-0"].set_int64_param(0);
  EXPECT_EQ(read(request), Verdict::elsewhere);
}

TEST_F(InferRequestTest, ParametersThatNeedWordsAreForElsewhere) {
  for (const char* name : {"sequence_id", "shared_memory_region", "classification"}) {
    auto request = raw_request({1}, {1});
    (*request.mutable_parameters())[name].set_int64_param(1);
    EXPECT_EQ(read(request), Verdict::elsewhere) << name;
  }
  auto negative = raw_request({1}, {1});
  (*negative.mutable_parameters())["timeout"].set_int64_param(-1);
  EXPECT_EQ(read(negative), Verdict::elsewhere);
  auto worded = raw_request({1}, {1});
  (*worded.mutable_parameters())["timeout"].set_string_param("1");
  EXPECT_EQ(read(worded), Verdict::elsewhere);
  auto classes = raw_request({1}, {1});
  (*classes.add_outputs()->mutable_parameters())["classification"].set_int64_param(2);
  EXPECT_EQ(read(classes), Verdict::elsewhere);
}

TEST_F(InferRequestTest, WhatTheHotPathDoesNotServeIsForElsewhere) {
  EXPECT_EQ(read(std::string()), Verdict::elsewhere) << "no input";
  EXPECT_EQ(read(request_of({1})), Verdict::elsewhere) << "no content";
  auto two_inputs = raw_request({1}, {1});
  two_inputs.add_inputs()->set_name("other");
  EXPECT_EQ(read(two_inputs), Verdict::elsewhere);
  auto two_outputs = raw_request({1}, {1});
  two_outputs.add_outputs();
  two_outputs.add_outputs();
  EXPECT_EQ(read(two_outputs), Verdict::elsewhere);
  auto two_contents = raw_request({1}, {1});
  two_contents.add_raw_input_contents("");
  EXPECT_EQ(read(two_contents), Verdict::elsewhere);
  auto both = raw_request({1}, {1});
  both.mutable_inputs(0)->mutable_contents();
  EXPECT_EQ(read(both), Verdict::elsewhere);
  auto integers = request_of({1});
  integers.mutable_inputs(0)->mutable_contents()->add_int_contents(1);
  EXPECT_EQ(read(integers), Verdict::elsewhere);
  EXPECT_EQ(read(raw_request({1, 1, 1, 1, 1, 1, 1, 1, 1}, {1})), Verdict::elsewhere) << "rank 9";
  EXPECT_EQ(read(raw_request({-1}, {1})), Verdict::elsewhere) << "a varint of ten bytes";
  auto id = raw_request({1}, {1});
  id.set_id("\xC3\xA9");
  EXPECT_EQ(read(id), Verdict::elsewhere) << "UTF-8 beyond ASCII";
  const std::string good = raw_request({1}, {1}).SerializeAsString();
  EXPECT_EQ(read(good + "\x40\x01"), Verdict::elsewhere) << "an unknown field";
  EXPECT_EQ(read(good + good), Verdict::elsewhere) << "merged messages";
}

TEST_F(InferRequestTest, LengthsThatClaimTooMuchCostNothing) {
  EXPECT_EQ(read(std::string("\x3a\xff\xff\xff\x3f", 5)), Verdict::malformed);
  EXPECT_EQ(read(std::string("\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10)), Verdict::elsewhere);
}

TEST_F(InferRequestTest, EveryTruncationIsRefusedOrForElsewhere) {
  const std::string whole = raw_request({2, 3}, {1, 2, 3, 4, 5, 6}).SerializeAsString();
  for (std::size_t length = 0; length < whole.size(); ++length) {
    inference::ModelInferRequest judge;
    const std::string part = whole.substr(0, length);
    const Verdict verdict = read(part);
    EXPECT_NE(verdict, Verdict::hot) << length;
    EXPECT_EQ(verdict == Verdict::malformed, !judge.ParseFromString(part)) << length;
  }
}

TEST_F(InferRequestTest, ShapesPackedOrNot) {
  // Field 3 of an input, not packed: tag 0x18.
  const std::string input("\x0a\x01x\x12\x04" "FP32\x18\x02\x18\x03", 13);
  std::string message("\x2a\x0d", 2);
  message += input;
  message += std::string("\x3a\x04\0\0\0\0", 6);
  ASSERT_EQ(read(message), Verdict::hot);
  EXPECT_EQ(parsed.shape.rank, 2U);
  EXPECT_EQ(parsed.shape.sizes[1], 3);
}

}  // namespace
}  // namespace seqserve::testing
