// The extension module seqserve.native_front._native: thin, and typed in _native.pyi.
#include <absl/synchronization/mutex.h>
#include <pybind11/pybind11.h>

#include "grpc_edge/library_log.h"
#include "python_edge/call.h"
#include "python_edge/compute.h"
#include "python_edge/desk.h"
#include "python_edge/ledger.h"
#include "python_edge/runners.h"
#include "python_edge/served.h"
#include "python_edge/server.h"
#include "python_edge/version.h"

PYBIND11_MODULE(_native, module) {
  // Debian builds Abseil so that each lock of gRPC is checked for deadlocks, which costs a few percent.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  seqserve::grpc_edge::tame_library_log();
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
