// inference.ModelInferResponse, written in one pass into memory of its exact size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "wire/bytes.h"

namespace seqserve::wire {

// Of the receipt.
struct ReplyParameter {
  std::string_view name;
  std::variant<bool, std::int64_t, std::string_view> value;
};

// content: FP32 rows, little-endian, behind each other. is_raw: as raw_output_contents, else as fp32_contents.
// Views: what they show has to outlive the reply.
struct InferResponse {
  std::string_view model_name;
  std::string_view model_version;
  std::string_view id;
  std::vector<ReplyParameter> parameters;
  std::string_view output_name;
  std::vector<std::int64_t> shape;
  bool is_raw = true;
  std::vector<Bytes> content;
};

// How many bytes `write` takes.
std::size_t size(const InferResponse& response);

// Writes all of them, and returns what is behind them.
std::uint8_t* write(const InferResponse& response, std::uint8_t* to);

// The same within a ModelStreamInferResponse.
std::size_t stream_size(const InferResponse& response);
std::uint8_t* write_streamed(const InferResponse& response, std::uint8_t* to);

// A ModelStreamInferResponse that says why there is no answer to the request of that id.
std::string stream_error(std::string_view words, std::string_view id);

}  // namespace seqserve::wire
