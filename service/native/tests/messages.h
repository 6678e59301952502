// Requests as protobuf's own serializer writes them.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "inference.pb.h"
#include "wire/infer_request.h"

namespace seqserve::testing {

inline wire::Bytes bytes_of(const std::string& text) {
  const auto* begin = reinterpret_cast<const std::uint8_t*>(text.data());
  return {begin, begin + text.size()};
}

inline std::string floats(const std::vector<float>& numbers) {
  std::string text(numbers.size() * sizeof(float), '\0');
  if (!numbers.empty()) std::memcpy(text.data(), numbers.data(), text.size());
  return text;
}

inline inference::ModelInferRequest request_of(const std::vector<std::int64_t>& shape) {
  inference::ModelInferRequest request;
  request.set_model_name("digit_mlp");
  request.set_model_version("3");
  request.set_id("abc-1");
  auto& input = *request.add_inputs();
  input.set_name("image");
  input.set_datatype("FP32");
  for (const std::int64_t size : shape) input.add_shape(size);
  return request;
}

inline inference::ModelInferRequest raw_request(const std::vector<std::int64_t>& shape,
                                                const std::vector<float>& numbers) {
  inference::ModelInferRequest request = request_of(shape);
  request.add_raw_input_contents(floats(numbers));
  return request;
}

inline inference::ModelInferRequest typed_request(const std::vector<std::int64_t>& shape,
                                                  const std::vector<float>& numbers) {
  inference::ModelInferRequest request = request_of(shape);
  for (const float number : numbers) request.mutable_inputs(0)->mutable_contents()->add_fp32_contents(number);
  return request;
}

}  // namespace seqserve::testing
