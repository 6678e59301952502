// The cases of decoding that the gateway's other decoders obey, as far as the hot path decides them itself.
#include "wire/tensor_check.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

namespace seqserve::testing {
namespace {

using nlohmann::json;
using wire::Fault;

json read(const std::string& file) { return json::parse(std::ifstream(std::string(CONTRACT_FOLDER) + "/" + file)); }

std::string from_hex(const std::string& digits) {
  std::string bytes;
  for (std::size_t at = 0; at < digits.size(); at += 2) {
    bytes.push_back(static_cast<char>(std::stoi(digits.substr(at, 2), nullptr, 16)));
  }
  return bytes;
}

std::string from_numbers(const std::vector<float>& numbers) {
  std::string bytes(numbers.size() * sizeof(float), '\0');
  if (!numbers.empty()) std::memcpy(bytes.data(), numbers.data(), bytes.size());
  return bytes;
}

std::string content_of(const json& content) {
  if (content.contains("hex")) return from_hex(content["hex"]);
  if (content.contains("fill")) return from_numbers(std::vector<float>(content["count"], content["fill"]));
  return from_numbers(content["values"].get<std::vector<float>>());
}

// As whoever builds the hot path from a signature does: an order of axes that has to be permuted is not ours.
wire::InputRules rules_of(const json& signature) {
  wire::InputRules rules;
  rules.name = signature["input"]["name"];
  const std::vector<std::int64_t> whole = signature["input"]["shape"];
  const std::vector<std::int64_t> own(whole.begin() + 1, whole.end());
  std::string own_layout;
  for (const json& shape : signature["example_shapes"]) {
    if (shape["shape"].get<std::vector<std::int64_t>>() == own) own_layout = shape["layout"];
  }
  for (const json& shape : signature["example_shapes"]) {
    const std::string layout = shape["layout"];
    const bool is_permuted = (layout == "HWC" && own_layout == "CHW") || (layout == "CHW" && own_layout == "HWC");
    rules.shapes.push_back({shape["shape"], !is_permuted});
  }
  if (!signature["minimum"].is_null()) rules.minimum = signature["minimum"].get<float>();
  if (!signature["maximum"].is_null()) rules.maximum = signature["maximum"].get<float>();
  return rules;
}

std::vector<float> rows_of(const json& rows) {
  if (rows.is_object()) {
    std::size_t count = 1;
    for (const std::size_t size : rows["shape"]) count *= size;
    return std::vector<float>(count, rows["fill"]);
  }
  std::vector<float> numbers;
  for (const json& row : rows) {
    for (const float number : row) numbers.push_back(number);
  }
  return numbers;
}

void check(const json& example, const wire::InputRules& rules, std::map<std::string, int>& seen) {
  const std::string content = content_of(example["content"]);
  const std::vector<std::int64_t> shape = example["shape"];
  wire::InferRequest request;
  const std::string datatype = example["datatype"];
  request.datatype = datatype;
  request.shape.rank = shape.size();
  std::copy(shape.begin(), shape.end(), request.shape.sizes.begin());
  const auto* begin = reinterpret_cast<const std::uint8_t*>(content.data());
  request.content = {begin, begin + content.size()};
  std::size_t examples = 0;
  const Fault fault = wire::check_tensor(request, rules, examples);
  ++seen[wire::name(fault)];
  if (fault == Fault::elsewhere) return;
  if (example.contains("error")) {
    EXPECT_EQ(wire::name(fault), example["error"]);
    return;
  }
  ASSERT_EQ(fault, Fault::none) << wire::name(fault);
  const std::vector<float> rows = rows_of(example["rows"]);
  std::vector<float> came(content.size() / sizeof(float));
  std::memcpy(came.data(), content.data(), content.size());
  EXPECT_EQ(came, rows);
}

TEST(TensorCheck, ObeysTheContract) {
  const json signatures = read("signatures.json");
  std::map<std::string, int> seen;
  for (const json& example : read("decoding.json")) {
    // A message of a higher rank never comes this far: the parser leaves it to others.
    if (example["shape"].size() > wire::kMostDimensions) continue;
    if (example["datatype"] != "FP32") continue;
    SCOPED_TRACE(example["case"].get<std::string>());
    check(example, rules_of(signatures[example["signature"].get<std::string>()]), seen);
  }
  for (const char* name :
       {"NONE", "RANK_NOT_ACCEPTED", "DIMENSION_NOT_POSITIVE", "SHAPE_OVERFLOW", "SHAPE_NOT_ACCEPTED",
        "TOO_MANY_EXAMPLES", "BYTE_LENGTH_MISMATCH", "NOT_FINITE", "OUT_OF_RANGE"}) {
    EXPECT_GT(seen[name], 0) << name;
  }
  EXPECT_LE(seen["ELSEWHERE"], 6) << "only what has to be permuted";
}

TEST(TensorCheck, OtherDatatypesAreForElsewhere) {
  wire::InferRequest request;
  std::size_t examples = 0;
  for (const char* datatype : {"UINT8", "FP16", "BYTES", "FP64", ""}) {
    request.datatype = datatype;
    EXPECT_EQ(wire::check_tensor(request, {}, examples), Fault::elsewhere);
  }
}

TEST(TensorCheck, ContentMayLieAnywhere) {
  const std::string content = "x" + from_numbers({0.5F, 0.25F});
  wire::InputRules rules;
  rules.shapes = {{{2}, true}};
  wire::InferRequest request;
  request.datatype = "FP32";
  request.shape = {{2}, 1};
  const auto* begin = reinterpret_cast<const std::uint8_t*>(content.data());
  request.content = {begin + 1, begin + content.size()};
  std::size_t examples = 0;
  EXPECT_EQ(wire::check_tensor(request, rules, examples), Fault::none);
  EXPECT_EQ(examples, 1U);
}

}  // namespace
}  // namespace seqserve::testing
