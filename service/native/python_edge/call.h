// What Python holds of calls and streams that it answers.
#pragma once

#include <pybind11/pybind11.h>

namespace seqserve::python_edge {

void bind_call(pybind11::module_& module);

}  // namespace seqserve::python_edge
