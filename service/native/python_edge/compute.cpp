#include "python_edge/compute.h"

#include <pybind11/numpy.h>

#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "grpc_edge/engine_fault.h"
#include "python_edge/held.h"

namespace py = pybind11;

namespace seqserve::python_edge {

namespace {

using grpc_edge::EngineFault;

// Made with the module, which is never unloaded.
PyObject* engine_fault = nullptr;

// Nothing owns the memory: the array is valid for one call.
py::array_t<float> view(const float* numbers, std::size_t count, std::size_t width) {
  return py::array_t<float>({count, width}, numbers, py::none());
}

std::optional<Time> time_of(std::int64_t retry_after_ns) {
  return retry_after_ns < 0 ? std::nullopt : std::optional(Time{retry_after_ns});
}

EngineFault translate(const py::error_already_set& error) {
  try {
    if (error.matches(engine_fault)) {
      using Arguments = std::tuple<std::uint64_t, int, std::string, std::string, std::int64_t>;
      const auto [number, code, words, reason, retry_after] = error.value().attr("args").cast<Arguments>();
      return {number, static_cast<grpc::StatusCode>(code), words, reason, time_of(retry_after)};
    }
  } catch (const std::exception&) {
    // An EngineFault with other arguments tells nothing either.
  }
  return {0, grpc::StatusCode::INTERNAL, "internal error", "INTERNAL", std::nullopt};
}

}  // namespace

Engine engine_of(const RowWidths& widths, py::object compute) {
  return [widths, held = hold(std::move(compute))](const float* rows, std::size_t count, float* outputs) {
    const py::gil_scoped_acquire lock;
    try {
      py::handle(held.get())(view(rows, count, widths.input), view(outputs, count, widths.output));
    } catch (const py::error_already_set& error) {
      throw translate(error);
    }
  };
}

Engine first_of(const py::object& capsule, Engine fallback) {
  if (capsule.is_none()) return fallback;
  const auto* engine = static_cast<const Engine*>(PyCapsule_GetPointer(capsule.ptr(), kEngineCapsule));
  if (engine == nullptr) throw py::error_already_set();
  return [first = *engine, fallback = std::move(fallback)](const float* rows, std::size_t count, float* outputs) {
    try {
      first(rows, count, outputs);
      return;
    } catch (const std::exception&) {
      // A pass changes nothing but its outputs: it may be made again, by whoever knows the words for what is wrong.
    }
    fallback(rows, count, outputs);
  };
}

std::uint64_t fault_number(const std::exception_ptr& failure) {
  if (failure == nullptr) return 0;
  try {
    std::rethrow_exception(failure);
  } catch (const EngineFault& fault) {
    return fault.number;
  } catch (...) {
    return 0;
  }
}

void bind_compute(py::module_& module) {
  engine_fault = PyErr_NewException("seqserve.native_front._native.EngineFault", nullptr, nullptr);
  if (engine_fault == nullptr) throw py::error_already_set();
  module.add_object("EngineFault", engine_fault);
}

}  // namespace seqserve::python_edge
