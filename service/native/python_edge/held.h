// A Python object that native code keeps.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

namespace seqserve::python_edge {

// May be let go of on any thread: that is done with Python's lock, and not at all once Python has ended.
using Held = std::shared_ptr<PyObject>;

inline Held hold(pybind11::object object) {
  return {object.release().ptr(), [](PyObject* held) {
            if (!Py_IsInitialized()) return;
            const pybind11::gil_scoped_acquire lock;
            Py_DECREF(held);
          }};
}

}  // namespace seqserve::python_edge
