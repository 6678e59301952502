// inference.ModelInferRequest, read in place: the shapes of request that the hot path serves, and no other.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "wire/bytes.h"
#include "wire/fields.h"

namespace seqserve::wire {

inline constexpr std::size_t kMostDimensions = 8;

struct Shape {
  std::array<std::int64_t, kMostDimensions> sizes{};
  std::size_t rank = 0;
};

// Views into the message, which has to outlive them. Exactly one input, and its content in one piece.
//
// output_name: empty where the caller named none. is_raw: the content came as raw_input_contents, and so goes
// the reply; otherwise as packed fp32_contents. timeout_microseconds: 0 where the caller set none.
struct InferRequest {
  std::string_view model_name;
  std::string_view model_version;
  std::string_view id;
  std::int64_t timeout_microseconds = 0;
  std::string_view input_name;
  std::string_view datatype;
  Shape shape;
  bool has_output = false;
  std::string_view output_name;
  bool is_raw = false;
  Bytes content;
};

// Allocates nothing. The request holds something only with Verdict::hot.
Verdict parse(Bytes message, InferRequest& request);

}  // namespace seqserve::wire
