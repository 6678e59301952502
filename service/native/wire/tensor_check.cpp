#include "wire/tensor_check.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace seqserve::wire {

namespace {

Fault count_elements(const Shape& shape, std::uint64_t& elements) {
  if (shape.rank < 1) return Fault::rank_not_accepted;
  const auto* const end = shape.sizes.begin() + shape.rank;
  if (*std::min_element(shape.sizes.begin(), end) < 1) return Fault::dimension_not_positive;
  std::int64_t product = 1;
  for (const auto* size = shape.sizes.begin(); size != end; ++size) {
    if (__builtin_mul_overflow(product, *size, &product)) return Fault::shape_overflow;
  }
  elements = static_cast<std::uint64_t>(product);
  return Fault::none;
}

const ExampleShape* find(const InputRules& rules, const std::int64_t* begin, const std::int64_t* end) {
  const auto found = std::find_if(rules.shapes.begin(), rules.shapes.end(), [&](const ExampleShape& shape) {
    return std::equal(shape.sizes.begin(), shape.sizes.end(), begin, end);
  });
  return found == rules.shapes.end() ? nullptr : &*found;
}

// Several examples behind a batch dimension, else one.
const ExampleShape* match(const Shape& shape, const InputRules& rules, std::uint64_t& examples) {
  const std::int64_t* const begin = shape.sizes.data();
  const std::int64_t* const end = begin + shape.rank;
  examples = static_cast<std::uint64_t>(*begin);
  if (const ExampleShape* batch = find(rules, begin + 1, end)) return batch;
  examples = 1;
  return find(rules, begin, end);
}

// Branch-free over the whole content, so that it is vectorized; which value is wrong is found elsewhere.
Fault check_values(Bytes content, const InputRules& rules) {
  const float largest = std::numeric_limits<float>::max();
  const float low = rules.minimum.value_or(-largest);
  const float high = rules.maximum.value_or(largest);
  unsigned infinite = 0;
  unsigned outside = 0;
  for (const std::uint8_t* at = content.begin; at != content.end; at += sizeof(float)) {
    float number;
    std::memcpy(&number, at, sizeof(float));
    infinite |= static_cast<unsigned>(!(std::fabs(number) <= largest));
    outside |= static_cast<unsigned>(!(number >= low)) | static_cast<unsigned>(!(number <= high));
  }
  if (infinite != 0) return Fault::not_finite;
  return outside != 0 ? Fault::out_of_range : Fault::none;
}

}  // namespace

const char* name(Fault fault) {
  switch (fault) {
    case Fault::none: return "NONE";
    case Fault::elsewhere: return "ELSEWHERE";
    case Fault::rank_not_accepted: return "RANK_NOT_ACCEPTED";
    case Fault::dimension_not_positive: return "DIMENSION_NOT_POSITIVE";
    case Fault::shape_overflow: return "SHAPE_OVERFLOW";
    case Fault::shape_not_accepted: return "SHAPE_NOT_ACCEPTED";
    case Fault::too_many_examples: return "TOO_MANY_EXAMPLES";
    case Fault::byte_length_mismatch: return "BYTE_LENGTH_MISMATCH";
    case Fault::not_finite: return "NOT_FINITE";
    case Fault::out_of_range: return "OUT_OF_RANGE";
  }
  return "UNKNOWN";
}

Fault check_tensor(const InferRequest& request, const InputRules& rules, std::size_t& examples) {
  if (request.datatype != "FP32") return Fault::elsewhere;
  std::uint64_t elements = 0;
  if (const Fault fault = count_elements(request.shape, elements); fault != Fault::none) return fault;
  std::uint64_t claimed = 0;
  const ExampleShape* const shape = match(request.shape, rules, claimed);
  if (shape == nullptr) return Fault::shape_not_accepted;
  if (claimed > rules.max_examples) return Fault::too_many_examples;
  // A division: the product of what is claimed could overflow.
  const std::size_t bytes = request.content.size();
  if (bytes % sizeof(float) != 0 || bytes / sizeof(float) != elements) return Fault::byte_length_mismatch;
  if (const Fault fault = check_values(request.content, rules); fault != Fault::none) return fault;
  if (!shape->is_own_order) return Fault::elsewhere;
  examples = static_cast<std::size_t>(claimed);
  return Fault::none;
}

}  // namespace seqserve::wire
