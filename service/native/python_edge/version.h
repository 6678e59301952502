// A version's queue as Python uses it: rows in, answers to the desk.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "core/version.h"
#include "grpc_edge/last_words.h"
#include "python_edge/desk.h"
#include "python_edge/runners.h"

namespace seqserve::python_edge {

using FloatArray = pybind11::array_t<float, pybind11::array::c_style>;

// Every method is called with Python's lock and lets go of it before it takes another one.
class Version {
 public:
  Version(std::shared_ptr<Desk> desk, VersionPtr queue);

  const VersionPtr& queue() const { return queue_; }
  // What callers of the hot path hear where it is aborted.
  const std::shared_ptr<grpc_edge::LastWords>& last_words() const { return last_words_; }

  // Without Python's lock. failure: what callers of the hot path are to hear; callers of `submit` are told `closing`.
  void abort(const std::optional<grpc_edge::Failure>& failure);
  bool wait_drained(std::int64_t most) const;
  // Raise Refused.
  void check(std::size_t rows, std::int64_t deadline) const;
  void submit(std::uint64_t request, const std::vector<FloatArray>& parts, std::int64_t deadline);
  bool leave(std::uint64_t request);

 private:
  // Who has no answer yet.
  struct Waiting {
    std::mutex mutex;
    std::unordered_map<std::uint64_t, std::shared_ptr<Ticket>> tickets;

    std::shared_ptr<Ticket> take(std::uint64_t request);
  };

  std::optional<Refused> admit(std::uint64_t request, const std::vector<Rows>& parts, Time deadline);
  static void answer(Desk& desk, std::uint64_t request, const Outcome& outcome, std::size_t width);
  std::size_t count_rows(const FloatArray& part) const;

  const std::shared_ptr<Desk> desk_;
  const VersionPtr queue_;
  const std::shared_ptr<grpc_edge::LastWords> last_words_ = std::make_shared<grpc_edge::LastWords>();
  const std::shared_ptr<Waiting> waiting_ = std::make_shared<Waiting>();
};

void bind_version(pybind11::module_& module);

}  // namespace seqserve::python_edge
