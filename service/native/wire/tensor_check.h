// Whether a tensor is rows that a model takes as they are: what the hot path checks before it copies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "wire/bytes.h"
#include "wire/infer_request.h"

namespace seqserve::wire {

// One accepted shape of an example; is_own_order: its elements lie as the model wants them.
struct ExampleShape {
  std::vector<std::int64_t> sizes;
  bool is_own_order = true;
};

// What the hot path has to know of a signature.
struct InputRules {
  std::string name;
  std::vector<ExampleShape> shapes;
  std::optional<float> minimum;
  std::optional<float> maximum;
  std::size_t max_examples = 1024;
};

// The first thing wrong, in the order and with the names of the gateway's refusals. elsewhere: a datatype or
// an order of axes that is not FP32 as the model wants it; perhaps right, and not decided here.
enum class Fault {
  none,
  elsewhere,
  rank_not_accepted,
  dimension_not_positive,
  shape_overflow,
  shape_not_accepted,
  too_many_examples,
  byte_length_mismatch,
  not_finite,
  out_of_range,
};

const char* name(Fault fault);

// Sets `examples` with Fault::none. The content may lie at any alignment.
Fault check_tensor(const InferRequest& request, const InputRules& rules, std::size_t& examples);

}  // namespace seqserve::wire
