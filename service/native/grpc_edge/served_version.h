// A version as the edge answers for it: the core's queue, and the names and rules of its tensors.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/version.h"
#include "grpc_edge/last_words.h"
#include "grpc_edge/request_ledger.h"
#include "wire/tensor_check.h"

namespace seqserve::grpc_edge {

// output_shape: of one example. receipt: further text parameters of each reply. sum_tolerance: probabilities
// are to sum to 1 so closely; none for other outputs.
struct ServedVersion {
  std::string model;
  std::string number;
  VersionPtr queue;
  std::shared_ptr<LastWords> last_words = std::make_shared<LastWords>();
  std::shared_ptr<RequestLedger> ledger;
  wire::InputRules input;
  std::string output_name;
  std::vector<std::int64_t> output_shape;
  std::vector<std::pair<std::string, std::string>> receipt;
  std::optional<float> sum_tolerance;
};

using ServedPtr = std::shared_ptr<const ServedVersion>;

}  // namespace seqserve::grpc_edge
