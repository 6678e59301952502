#include "python_edge/desk.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <system_error>
#include <utility>

namespace py = pybind11;

namespace seqserve::python_edge {

Desk::Desk() : descriptor_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (descriptor_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
}

Desk::~Desk() { close(descriptor_); }

void Desk::leave(News news) {
  bool is_first = false;
  {
    const std::lock_guard lock(mutex_);
    is_first = news_.empty();
    news_.push_back(std::move(news));
  }
  if (!is_first) return;
  const std::uint64_t one = 1;
  // It cannot be full: it is written to once between two takings.
  [[maybe_unused]] const ssize_t written = write(descriptor_, &one, sizeof(one));
}

py::list Desk::take() {
  std::vector<News> news;
  {
    // Nobody waits for Python's lock while holding this one, and it is held for a moment only.
    const std::lock_guard lock(mutex_);
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t size = read(descriptor_, &count, sizeof(count));
    news.swap(news_);
  }
  py::list taken;
  for (const News& each : news) taken.append(each());
  return taken;
}

void bind_desk(py::module_& module) {
  py::class_<Desk, std::shared_ptr<Desk>>(module, "Desk")
      .def(py::init<>())
      .def("fileno", &Desk::descriptor)
      .def("take", &Desk::take);
}

}  // namespace seqserve::python_edge
