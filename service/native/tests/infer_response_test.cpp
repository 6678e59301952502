// Replies are read back by protobuf's own code.
#include "wire/infer_response.h"

#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include "messages.h"

namespace seqserve::testing {
namespace {

using google::protobuf::util::MessageDifferencer;

inference::ModelInferResponse read_back(const wire::InferResponse& response) {
  std::vector<std::uint8_t> written(wire::size(response) + 1, 0xAB);
  const std::uint8_t* end = wire::write(response, written.data());
  EXPECT_EQ(end, written.data() + wire::size(response));
  EXPECT_EQ(written.back(), 0xAB) << "nothing behind the end";
  inference::ModelInferResponse read;
  EXPECT_TRUE(read.ParseFromArray(written.data(), static_cast<int>(written.size() - 1)));
  return read;
}

struct Example {
  std::string first = floats({0.25F, 0.75F});
  std::string second = floats({0.5F, 0.5F});
  wire::InferResponse response;
  inference::ModelInferResponse expected;

  Example() {
    response.model_name = "digit_mlp";
    response.model_version = "12";
    response.id = "abc";
    response.parameters = {{"seqserve_queue_ns", std::int64_t{123456789}},
                           {"seqserve_batch_size", std::int64_t{-1}},
                           {"seqserve_engine", std::string_view("embedded")},
                           {"seqserve_device", std::string_view("")}};
    response.output_name = "probabilities";
    response.shape = {2, 2};
    response.content = {bytes_of(first), bytes_of(second)};
    expected.set_model_name("digit_mlp");
    expected.set_model_version("12");
    expected.set_id("abc");
    auto& parameters = *expected.mutable_parameters();
    parameters["seqserve_queue_ns"].set_int64_param(123456789);
    parameters["seqserve_batch_size"].set_int64_param(-1);
    parameters["seqserve_engine"].set_string_param("embedded");
    parameters["seqserve_device"].set_string_param("");
    auto& output = *expected.add_outputs();
    output.set_name("probabilities");
    output.set_datatype("FP32");
    output.add_shape(2);
    output.add_shape(2);
  }
};

TEST(InferResponse, RawContents) {
  Example example;
  example.expected.add_raw_output_contents(example.first + example.second);
  EXPECT_TRUE(MessageDifferencer::Equals(read_back(example.response), example.expected));
}

TEST(InferResponse, TypedContents) {
  Example example;
  example.response.is_raw = false;
  for (const float number : {0.25F, 0.75F, 0.5F, 0.5F}) {
    example.expected.mutable_outputs(0)->mutable_contents()->add_fp32_contents(number);
  }
  EXPECT_TRUE(MessageDifferencer::Equals(read_back(example.response), example.expected));
}

TEST(InferResponse, LongLengthsAndEmptyTexts) {
  const std::string rows = floats(std::vector<float>(100000, 0.5F));
  wire::InferResponse response;
  response.output_name = "y";
  response.shape = {100000, 1};
  response.content = {bytes_of(rows)};
  const auto read = read_back(response);
  EXPECT_EQ(read.raw_output_contents(0), rows);
  EXPECT_EQ(read.outputs(0).shape(0), 100000);
  EXPECT_TRUE(read.id().empty());
}

}  // namespace
}  // namespace seqserve::testing
