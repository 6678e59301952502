// The extension module seqserve.native_front._graph, typed in _graph.pyi. torch must have been imported before it.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <torch/version.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/engine.h"
#include "torch_edge/graph.h"

namespace py = pybind11;

namespace {

using seqserve::Engine;
using seqserve::torch_edge::Graph;
using Rows = py::array_t<float, py::array::c_style>;
using Unlocked = py::call_guard<py::gil_scoped_release>;

// A view of the same engine for the other extension, under a name that both know.
py::capsule engine_of(const std::shared_ptr<const Graph>& graph) {
  auto engine = std::make_unique<Engine>(
      [graph](const float* rows, std::size_t count, float* outputs) { graph->run(rows, count, outputs); });
  py::capsule capsule(engine.get(), seqserve::kEngineCapsule, [](PyObject* object) {
    delete static_cast<Engine*>(PyCapsule_GetPointer(object, seqserve::kEngineCapsule));
  });
  engine.release();
  return capsule;
}

void run(const Graph& graph, const Rows& batch, Rows& out) {
  const auto count = static_cast<std::size_t>(batch.ndim() == 0 ? 0 : batch.shape(0));
  if (static_cast<std::size_t>(out.size()) != count * graph.output_width()) {
    throw std::invalid_argument("out holds another number of answers than there are examples");
  }
  const float* rows = batch.data();
  float* outputs = out.mutable_data();
  const py::gil_scoped_release unlocked;
  graph.run(rows, count, outputs);
}

}  // namespace

PYBIND11_MODULE(_graph, module) {
  using namespace py::literals;
  module.attr("TORCH_VERSION") = TORCH_VERSION;
  py::class_<Graph, std::shared_ptr<Graph>>(module, "Graph")
      .def(py::init([](const py::bytes& torchscript, std::vector<std::int64_t> example_shape, std::size_t output_width) {
             const std::string content(torchscript);
             const py::gil_scoped_release unlocked;
             return std::make_shared<Graph>(content, std::move(example_shape), output_width);
           }),
           "torchscript"_a, "example_shape"_a, "output_width"_a)
      .def("run", &run, "batch"_a, "out"_a.noconvert())
      .def_property_readonly("engine", &engine_of);
}
