// The extension module seqserve.native_front._native: thin, and typed in _native.pyi.
#include <pybind11/pybind11.h>

#include "python_edge/desk.h"

PYBIND11_MODULE(_native, module) {
  using namespace seqserve::python_edge;
  bind_desk(module);
}
