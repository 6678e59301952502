// A version as the edge answers for it: the core's queue, and the names and rules of its tensors.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/version.h"
#include "wire/tensor_check.h"

namespace seqserve::grpc_edge {

// output_shape: of one example.
struct ServedVersion {
  std::string model;
  std::string number;
  VersionPtr queue;
  wire::InputRules input;
  std::string output_name;
  std::vector<std::int64_t> output_shape;
};

// Which version answers a request; nullptr where that is not decided here. Called on the edge's thread only.
using Resolve = std::function<const ServedVersion*(std::string_view model, std::string_view version)>;

}  // namespace seqserve::grpc_edge
