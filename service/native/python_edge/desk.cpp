#include "python_edge/desk.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <iterator>
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
  if (is_first) ring();
}

// It cannot be full: it is written to a few times between two takings.
void Desk::ring() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(descriptor_, &one, sizeof(one));
}

void Desk::put_back(std::vector<News> news) {
  if (news.empty()) return;
  bool is_first = false;
  {
    const std::lock_guard lock(mutex_);
    is_first = news_.empty();
    news_.insert(news_.begin(), std::make_move_iterator(news.begin()), std::make_move_iterator(news.end()));
  }
  if (is_first) ring();
}

std::vector<News> Desk::pick_up(std::size_t most) {
  std::vector<News> news;
  // Nobody waits for Python's lock while holding this one, and it is held for a moment only.
  const std::lock_guard lock(mutex_);
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t size = read(descriptor_, &count, sizeof(count));
  const auto end = news_.begin() + static_cast<std::ptrdiff_t>(std::min(most, news_.size()));
  news.assign(std::make_move_iterator(news_.begin()), std::make_move_iterator(end));
  news_.erase(news_.begin(), end);
  if (!news_.empty()) ring();
  return news;
}

py::list Desk::take(std::size_t most) {
  std::vector<News> news = pick_up(most);
  py::list taken;
  auto next = news.begin();
  try {
    for (; next != news.end(); ++next) taken.append((*next)());
  } catch (...) {
    const bool is_first = taken.empty();
    news.erase(news.begin(), is_first ? next + 1 : next);
    put_back(std::move(news));
    if (is_first) throw;
  }
  return taken;
}

void bind_desk(py::module_& module) {
  py::class_<Desk, std::shared_ptr<Desk>>(module, "Desk")
      .def(py::init<>())
      .def("fileno", &Desk::descriptor)
      .def("take", &Desk::take, py::arg("most"));
}

}  // namespace seqserve::python_edge
