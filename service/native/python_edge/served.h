// Versions as the hot path answers for them, and their ledgers.
#pragma once

#include <pybind11/pybind11.h>

namespace seqserve::python_edge {

void bind_served(pybind11::module_& module);

}  // namespace seqserve::python_edge
