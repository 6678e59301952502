// What the core counts, as Python reads it.
#pragma once

#include <pybind11/pybind11.h>

#include "core/histogram.h"

namespace seqserve::python_edge {

// (counts by bucket, sum).
pybind11::tuple told(const HistogramSnapshot& histogram);

void bind_ledger(pybind11::module_& module);

}  // namespace seqserve::python_edge
