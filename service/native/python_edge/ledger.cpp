#include "python_edge/ledger.h"

#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/batch_ledger.h"

namespace py = pybind11;

namespace seqserve::python_edge {

namespace {

template <typename Name, std::size_t size>
py::dict by_name(const std::array<std::uint64_t, size>& counts) {
  py::dict named;
  for (std::size_t index = 0; index < size; ++index) named[name(static_cast<Name>(index))] = counts[index];
  return named;
}

py::dict by_size(const BatchSnapshot& counts) {
  py::dict sizes;
  for (const auto& [rows, size] : counts.by_size) {
    sizes[py::int_(rows)] = py::make_tuple(size.batches, size.assembly, size.compute, size.split);
  }
  return sizes;
}

py::dict read(const BatchLedger& ledger) {
  BatchSnapshot counts;
  {
    const py::gil_scoped_release unlocked;
    counts = ledger.read();
  }
  py::dict read;
  read["assembly"] = told(counts.assembly);
  read["compute"] = told(counts.compute);
  read["examples"] = told(counts.examples);
  read["reasons"] = by_name<Flush>(counts.reasons);
  read["dropped"] = by_name<Drop>(counts.dropped);
  read["refused"] = by_name<Refusal>(counts.refused);
  read["by_size"] = by_size(counts);
  return read;
}

}  // namespace

py::tuple told(const HistogramSnapshot& histogram) { return py::make_tuple(histogram.buckets, histogram.sum); }

void bind_ledger(py::module_& module) {
  using Bounds = std::vector<std::uint64_t>;
  py::class_<BatchLedger, std::shared_ptr<BatchLedger>>(module, "BatchLedger")
      .def(py::init<const Bounds&, Bounds>(), py::arg("seconds_bounds_ns"), py::arg("examples_bounds"))
      .def("read", &read);
}

}  // namespace seqserve::python_edge
