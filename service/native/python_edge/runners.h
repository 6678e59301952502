// The compute slots, which are Python's threads, and who looks after deadlines beside them.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "core/clock.h"
#include "core/runners.h"
#include "core/watch.h"

namespace seqserve::python_edge {

// time.monotonic_ns() of Python, which deadlines share.
inline const SteadyClock clock;

class Runners {
 public:
  Runners() : watch_(std::make_unique<Watch>()) {}
  ~Runners();

  void run(const VersionPtr& version);
  void work();
  void stop();
  seqserve::Runners& core() { return runners_; }

 private:
  seqserve::Runners runners_{0, clock};
  std::unique_ptr<Watch> watch_;
};

void bind_runners(pybind11::module_& module);

}  // namespace seqserve::python_edge
