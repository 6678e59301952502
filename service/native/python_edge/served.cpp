#include "python_edge/served.h"

#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "grpc_edge/request_ledger.h"
#include "grpc_edge/served_version.h"
#include "python_edge/ledger.h"
#include "python_edge/version.h"

namespace py = pybind11;

namespace seqserve::python_edge {

namespace {

using grpc_edge::RequestLedger;
using grpc_edge::ServedVersion;
using Shapes = std::vector<std::pair<std::vector<std::int64_t>, bool>>;

std::shared_ptr<ServedVersion> make_served(
    const Version& version, const std::shared_ptr<RequestLedger>& ledger, std::string model, std::string number,
    std::string input_name, const Shapes& shapes, std::optional<float> minimum, std::optional<float> maximum,
    std::size_t max_examples, std::string output_name, std::vector<std::int64_t> output_shape,
    std::vector<std::pair<std::string, std::string>> receipt, std::optional<float> sum_tolerance) {
  auto served = std::make_shared<ServedVersion>();
  served->model = std::move(model);
  served->number = std::move(number);
  served->queue = version.queue();
  served->last_words = version.last_words();
  served->ledger = ledger;
  served->input.name = std::move(input_name);
  for (const auto& [sizes, is_own_order] : shapes) served->input.shapes.push_back({sizes, is_own_order});
  served->input.minimum = minimum;
  served->input.maximum = maximum;
  served->input.max_examples = max_examples;
  served->output_name = std::move(output_name);
  served->output_shape = std::move(output_shape);
  served->receipt = std::move(receipt);
  served->sum_tolerance = sum_tolerance;
  return served;
}

py::dict read(const RequestLedger& ledger) {
  const grpc_edge::RequestSnapshot snapshot = ledger.read();
  py::dict codes;
  for (std::size_t code = 0; code < snapshot.codes.size(); ++code) {
    if (snapshot.codes[code] != 0) codes[py::int_(code)] = snapshot.codes[code];
  }
  using namespace py::literals;
  return py::dict("codes"_a = codes, "examples"_a = snapshot.examples, "compute_ns"_a = snapshot.compute,
                  "failed"_a = snapshot.failed, "failed_ns"_a = snapshot.failed_time,
                  "answered_at_ms"_a = snapshot.answered_at, "in_flight"_a = snapshot.in_flight,
                  "request"_a = told(snapshot.request), "decode"_a = told(snapshot.decode),
                  "queue"_a = told(snapshot.queue), "encode"_a = told(snapshot.encode));
}

}  // namespace

void bind_served(py::module_& module) {
  using py::arg;
  py::class_<RequestLedger, std::shared_ptr<RequestLedger>>(module, "RequestLedger")
      .def(py::init<const std::vector<std::uint64_t>&>(), arg("seconds_bounds_ns"))
      .def("read", read);
  py::class_<ServedVersion, std::shared_ptr<ServedVersion>>(module, "Served")
      .def(py::init(&make_served), arg("version"), arg("ledger"), py::kw_only(), arg("model"), arg("number"),
           arg("input_name"), arg("shapes"), arg("minimum"), arg("maximum"), arg("max_examples"), arg("output_name"),
           arg("output_shape"), arg("receipt"), arg("sum_tolerance"));
}

}  // namespace seqserve::python_edge
