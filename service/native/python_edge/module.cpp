// The extension module seqserve.native_front._native: thin, and typed in _native.pyi.
#include <pybind11/pybind11.h>

#include "python_edge/call.h"
#include "python_edge/compute.h"
#include "python_edge/desk.h"
#include "python_edge/ledger.h"
#include "python_edge/runners.h"
#include "python_edge/served.h"
#include "python_edge/server.h"
#include "python_edge/version.h"

PYBIND11_MODULE(_native, module) {
  using namespace seqserve::python_edge;
  bind_desk(module);
  bind_compute(module);
  bind_ledger(module);
  bind_runners(module);
  bind_version(module);
  bind_served(module);
  bind_call(module);
  bind_server(module);
}
