// What native threads have to tell Python: they leave it here without Python's lock, and the event loop comes
// for it when the descriptor is readable.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <vector>

namespace seqserve::python_edge {

// A piece of news as Python is to see it; called with Python's lock held, and once more where it threw.
using News = std::function<pybind11::object()>;

class Desk {
 public:
  // Throws std::system_error where there is no descriptor.
  Desk();
  Desk(const Desk&) = delete;
  Desk& operator=(const Desk&) = delete;
  ~Desk();

  // On any thread. What the news hold must be fit to be let go of on any thread: no Python objects.
  void leave(News news);

  // Readable as long as something lies here.
  int descriptor() const { return descriptor_; }

  // What lies here, in order and at most so many, up to one that throws: that is tried again the next time. With
  // Python's lock. Throws what the first of them throws, which is gone then; the others stay.
  pybind11::list take(std::size_t most);

 private:
  void ring();
  std::vector<News> pick_up(std::size_t most);
  // Before what was left meanwhile.
  void put_back(std::vector<News> news);

  std::mutex mutex_;
  std::deque<News> news_;
  int descriptor_;
};

void bind_desk(pybind11::module_& module);

}  // namespace seqserve::python_edge
