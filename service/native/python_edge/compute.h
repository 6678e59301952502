// Python's `compute` as the core's engine, and the fault that it raises.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <exception>

#include "core/engine.h"
#include "core/limits.h"

namespace seqserve::python_edge {

// Calls `compute` with Python's lock, on arrays that lie in the staging buffer. Throws EngineFault, number 0
// and INTERNAL for what is no EngineFault of Python's.
Engine engine_of(const RowWidths& widths, pybind11::object compute);

// The engine in a capsule first, which needs no Python; where it throws, `fallback` computes the batch, and what
// that throws is told. With Python's lock. Just `fallback` for None; TypeError of Python's for no such capsule.
Engine first_of(const pybind11::object& capsule, Engine fallback);

// The number of the EngineFault that was thrown; 0 for anything else.
std::uint64_t fault_number(const std::exception_ptr& failure);

void bind_compute(pybind11::module_& module);

}  // namespace seqserve::python_edge
