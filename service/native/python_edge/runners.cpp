#include "python_edge/runners.h"

namespace py = pybind11;

namespace seqserve::python_edge {

// The watch's thread may be letting go of a version, for which it needs Python's lock.
Runners::~Runners() {
  const py::gil_scoped_release unlocked;
  watch_.reset();
}

void Runners::run(const VersionPtr& version) {
  const py::gil_scoped_release unlocked;
  runners_.run(*version);
  watch_->over(version);
}

void Runners::work() {
  const py::gil_scoped_release unlocked;
  runners_.work();
}

void Runners::stop() {
  const py::gil_scoped_release unlocked;
  runners_.stop();
}

void bind_runners(py::module_& module) {
  py::class_<Runners, std::shared_ptr<Runners>>(module, "Runners")
      .def(py::init<>())
      .def("work", &Runners::work)
      .def("stop", &Runners::stop);
}

}  // namespace seqserve::python_edge
