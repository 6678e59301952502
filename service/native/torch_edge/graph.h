// A TorchScript module that runs batches without Python.
#pragma once

#include <torch/script.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace seqserve::torch_edge {

class Graph {
 public:
  // torchscript: a frozen module, as torch saves it. example_shape: without the batch dimension.
  // Throws std::exception where it cannot be read.
  Graph(const std::string& torchscript, std::vector<std::int64_t> example_shape, std::size_t output_width);

  // Rows [count, *example shape] in, outputs [count, output width] written, all FP32 and row-major. On any
  // thread, several at once. Throws std::exception where the module fails or answers anything else.
  void run(const float* rows, std::size_t count, float* outputs) const;

  std::size_t output_width() const { return output_width_; }

 private:
  at::Tensor answer(const float* rows, std::int64_t count) const;

  const torch::jit::Module module_;
  const torch::jit::Method forward_;
  const std::vector<std::int64_t> example_shape_;
  const std::size_t output_width_;
};

}  // namespace seqserve::torch_edge
