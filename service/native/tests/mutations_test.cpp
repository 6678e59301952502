// Random damage to good messages: the parser reads nothing else than protobuf reads, refuses nothing that
// protobuf takes, and never looks beyond the end. SEQSERVE_MUTATIONS makes it longer.
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <random>

#include "messages.h"

namespace seqserve::testing {
namespace {

using wire::InferRequest;
using wire::Verdict;

std::size_t mutations() {
  const char* wished = std::getenv("SEQSERVE_MUTATIONS");
  return wished == nullptr ? 200000 : std::strtoul(wished, nullptr, 10);
}

std::vector<std::string> seeds() {
  auto raw = raw_request({2, 3}, {1, 2, 3, 4, 5, 6});
  (*raw.mutable_parameters())["timeout"].set_int64_param(1000);
  raw.add_outputs()->set_name("probabilities");
  auto typed = typed_request({28}, std::vector<float>(28, 0.5F));
  (*typed.mutable_parameters())["note"].set_string_param("n");
  (*typed.mutable_inputs(0)->mutable_parameters())["x"].set_double_param(1);
  auto other = request_of({2});
  other.mutable_inputs(0)->mutable_contents()->add_uint_contents(7);
  (*other.add_outputs()->mutable_parameters())["classification"].set_int64_param(3);
  return {raw.SerializeAsString(), typed.SerializeAsString(), other.SerializeAsString(),
          raw_request({1}, {1}).SerializeAsString()};
}

std::string damage(std::string message, const std::vector<std::string>& others, std::mt19937& random) {
  const auto any = [&random](std::size_t below) { return below == 0 ? 0 : random() % below; };
  for (std::size_t times = 1 + any(3); times > 0; --times) {
    const std::size_t place = any(message.size() + 1);
    switch (any(7)) {
      case 0: if (place < message.size()) message[place] = static_cast<char>(random()); break;
      case 1: if (place < message.size()) message[place] ^= static_cast<char>(1 << any(8)); break;
      case 2: message.resize(place); break;
      case 3: message.insert(place, 1, static_cast<char>(random())); break;
      case 4: if (place < message.size()) message.erase(place, 1 + any(4)); break;
      case 5: message.insert(place, others[any(others.size())].substr(any(20), any(40))); break;
      default: message.insert(place, 1 + any(10), '\xff'); break;
    }
  }
  return message;
}

void expect_same(const InferRequest& parsed, const inference::ModelInferRequest& judge) {
  ASSERT_EQ(judge.inputs_size(), 1);
  const auto& input = judge.inputs(0);
  EXPECT_EQ(parsed.model_name, judge.model_name());
  EXPECT_EQ(parsed.model_version, judge.model_version());
  EXPECT_EQ(parsed.id, judge.id());
  EXPECT_EQ(parsed.input_name, input.name());
  EXPECT_EQ(parsed.datatype, input.datatype());
  ASSERT_EQ(parsed.shape.rank, static_cast<std::size_t>(input.shape_size()));
  for (int axis = 0; axis < input.shape_size(); ++axis) {
    EXPECT_EQ(parsed.shape.sizes[static_cast<std::size_t>(axis)], input.shape(axis));
  }
  EXPECT_EQ(parsed.has_output, judge.outputs_size() == 1);
  EXPECT_LE(judge.outputs_size(), 1);
  if (parsed.has_output) {
    EXPECT_EQ(parsed.output_name, judge.outputs(0).name());
  }
  const auto timeout = judge.parameters().find("timeout");
  EXPECT_EQ(parsed.timeout_microseconds, timeout == judge.parameters().end() ? 0 : timeout->second.int64_param());
  for (const auto& [name, value] : judge.parameters()) {
    EXPECT_NE(name.rfind("sequence_", 0), 0U);
    EXPECT_NE(name.rfind("shared_memory_", 0), 0U);
  }
  EXPECT_EQ(parsed.is_raw, judge.raw_input_contents_size() == 1);
  EXPECT_NE(parsed.is_raw, input.has_contents());
  if (parsed.is_raw) {
    EXPECT_EQ(parsed.content.text(), judge.raw_input_contents(0));
    return;
  }
  const auto& numbers = input.contents().fp32_contents();
  EXPECT_EQ(parsed.content.text(), std::string(reinterpret_cast<const char*>(numbers.data()),
                                               static_cast<std::size_t>(numbers.size()) * sizeof(float)));
  EXPECT_TRUE(input.contents().int_contents().empty() && input.contents().bytes_contents().empty());
}

TEST(Mutations, NothingIsReadOtherwiseThanProtobufReadsIt) {
  google::protobuf::SetLogHandler(nullptr);  // it complains of each damaged string
  std::mt19937 random(20240607);
  const std::vector<std::string> good = seeds();
  std::size_t hot = 0, elsewhere = 0, malformed = 0;
  for (std::size_t round = 0; round < mutations() && !::testing::Test::HasFailure(); ++round) {
    const std::string message = damage(good[random() % good.size()], good, random);
    // An allocation of its own and of its exact size, so that AddressSanitizer sees a byte too far.
    const std::unique_ptr<std::uint8_t[]> copy = std::make_unique<std::uint8_t[]>(message.size());
    std::copy(message.begin(), message.end(), copy.get());
    InferRequest parsed;
    const Verdict verdict = wire::parse({copy.get(), copy.get() + message.size()}, parsed);
    inference::ModelInferRequest judge;
    const bool is_readable = judge.ParseFromString(message);
    if (verdict == Verdict::hot) {
      ++hot;
      EXPECT_TRUE(is_readable);
      expect_same(parsed, judge);
    } else if (verdict == Verdict::malformed) {
      ++malformed;
      EXPECT_FALSE(is_readable);
    } else {
      ++elsewhere;
    }
    if (::testing::Test::HasFailure()) {
      for (const char byte : message) std::printf("%02x", static_cast<unsigned char>(byte));
      std::printf(" in round %zu\n", round);
    }
  }
  std::printf("hot %zu, elsewhere %zu, malformed %zu\n", hot, elsewhere, malformed);
  EXPECT_GT(hot, mutations() / 50);
  EXPECT_GT(malformed, mutations() / 50);
}

}  // namespace
}  // namespace seqserve::testing
