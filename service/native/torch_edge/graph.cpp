#include "torch_edge/graph.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace seqserve::torch_edge {

namespace {

torch::jit::Module read(const std::string& torchscript) {
  std::istringstream content(torchscript);
  return torch::jit::load(content, at::kCPU);
}

// In a new thread BLAS begins with all cores of the host, until torch has told it better.
void enter_thread() {
  thread_local const bool is_told = (at::set_num_threads(at::get_num_threads()), true);
  static_cast<void>(is_told);
}

}  // namespace

Graph::Graph(const std::string& torchscript, std::vector<std::int64_t> example_shape, std::size_t output_width)
    : module_(read(torchscript)),
      forward_(module_.get_method("forward")),
      example_shape_(std::move(example_shape)),
      output_width_(output_width) {}

void Graph::run(const float* rows, std::size_t count, float* outputs) const {
  enter_thread();
  const c10::InferenceMode no_gradients;
  const at::Tensor found = answer(rows, static_cast<std::int64_t>(count));  // [count, *output]
  std::copy_n(found.const_data_ptr<float>(), count * output_width_, outputs);
}

at::Tensor Graph::answer(const float* rows, std::int64_t count) const {
  std::vector<std::int64_t> shape{count};
  shape.insert(shape.end(), example_shape_.begin(), example_shape_.end());
  // torch has no tensor of constant numbers; a frozen module writes into none that it is given.
  const at::Tensor batch = at::from_blob(const_cast<float*>(rows), shape, at::kFloat);  // [count, *example]
  const at::Tensor found = forward_({batch}).toTensor();                               // [count, *output]
  const bool is_answer = found.scalar_type() == at::kFloat && found.dim() > 0 && found.size(0) == count &&
                         static_cast<std::size_t>(found.numel()) == static_cast<std::size_t>(count) * output_width_;
  if (!is_answer) throw std::runtime_error("the module answered something that is no answer");
  return found.contiguous();
}

}  // namespace seqserve::torch_edge
