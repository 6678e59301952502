#include "python_edge/version.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>

#include "python_edge/compute.h"
#include "python_edge/held.h"

namespace py = pybind11;

namespace seqserve::python_edge {

namespace {

// Made with the module, which is never unloaded.
PyObject* refused_error = nullptr;
PyObject* limit_fault = nullptr;

[[noreturn]] void raise(const Refused& refused) {
  const py::tuple arguments =
      py::make_tuple(name(refused.reason), refused.waiting_rows, std::int64_t{refused.retry_after.count()},
                     refused.memory_bytes);
  PyErr_SetObject(refused_error, arguments.ptr());
  throw py::error_already_set();
}

[[noreturn]] void raise(const LimitFault& fault) {
  PyErr_SetObject(limit_fault, py::make_tuple(fault.field, fault.came, fault.accepted).ptr());
  throw py::error_already_set();
}

// Tells the desk of batches that go wrong.
class Teller final : public BatchObserver {
 public:
  Teller(std::shared_ptr<Desk> desk, std::uint64_t number) : desk_(std::move(desk)), number_(number) {}

  void failed(std::size_t rows, const std::exception_ptr& failure) override {
    tell("failed", rows, fault_number(failure));
  }
  void overdue(std::size_t rows) override { tell("overdue", rows); }
  void recovered(Time computed, const std::exception_ptr& failure) override {
    tell("recovered", std::int64_t{computed.count()}, fault_number(failure));
  }

 private:
  template <typename... Values>
  void tell(const char* what, Values... values) {
    desk_->leave([what, number = number_, values...] { return py::make_tuple(what, number, values...); });
  }

  const std::shared_ptr<Desk> desk_;
  const std::uint64_t number_;
};

// The three buffers that each version has come from Python. Later ones are made under the version's lock,
// where nobody may wait for Python's: they come from the host.
Memory memory_of(const py::object& allocate) {
  if (allocate.is_none()) return host_memory;
  const auto left = std::make_shared<std::size_t>(kLeastBuffers);
  const Held held = hold(allocate);
  return [held, left](std::size_t count) -> Floats {
    if (*left == 0) return host_memory(count);
    --*left;
    const py::gil_scoped_acquire lock;
    const py::object given = py::handle(held.get())(count);
    if (given.is_none()) return host_memory(count);
    // A cast would copy what is of another kind, and rows would not lie where the engine looks for them.
    if (!py::isinstance<FloatArray>(given)) throw std::invalid_argument("memory that is no FP32, or lies in pieces");
    auto array = given.cast<FloatArray>();
    if (static_cast<std::size_t>(array.size()) < count) throw std::invalid_argument("less memory than was asked for");
    float* numbers = array.mutable_data();
    return {numbers, [owner = hold(std::move(array))](float*) {}};
  };
}

VersionPtr make_queue(const RowWidths& widths, const Limits& limits, py::object compute, const py::object& allocate,
                      const py::object& engine) {
  Engine first = first_of(engine, engine_of(widths, std::move(compute)));
  try {
    return seqserve::Version::make(widths, limits, std::move(first), clock, memory_of(allocate));
  } catch (const LimitFault& fault) {
    raise(fault);
  }
}

// Copies rows that lie in several places into the slots of a ticket.
void write(const Ticket& ticket, const std::vector<Rows>& parts, std::size_t width) {
  std::size_t index = 0;
  Slot slot = ticket.slot(0);
  for (Rows part : parts) {
    while (part.count > 0) {
      if (slot.count == 0) slot = ticket.slot(++index);
      const std::size_t rows = std::min(part.count, slot.count);
      std::copy_n(part.numbers, rows * width, slot.numbers);
      part = {part.numbers + rows * width, part.count - rows};
      slot = {slot.numbers + rows * width, slot.count - rows};
    }
  }
}

}  // namespace

Version::Version(std::shared_ptr<Desk> desk, VersionPtr queue) : desk_(std::move(desk)), queue_(std::move(queue)) {}

void Version::abort(const std::optional<grpc_edge::Failure>& failure) {
  if (failure) last_words_->say(*failure);
  queue_->abort();
}

bool Version::wait_drained(std::int64_t most) const {
  const py::gil_scoped_release unlocked;
  return queue_->wait_drained(Time{most});
}

void Version::check(std::size_t rows, std::int64_t deadline) const {
  std::optional<Refused> refused;
  {
    const py::gil_scoped_release unlocked;
    refused = queue_->check(rows, Time{deadline});
  }
  if (refused) raise(*refused);
}

void Version::submit(std::uint64_t request, const std::vector<FloatArray>& parts, std::int64_t deadline) {
  std::vector<Rows> rows;
  for (const FloatArray& part : parts) rows.push_back({part.data(), count_rows(part)});
  std::optional<Refused> refused;
  {
    const py::gil_scoped_release unlocked;
    refused = admit(request, rows, Time{deadline});
  }
  if (refused) raise(*refused);
}

std::size_t Version::count_rows(const FloatArray& part) const {
  const std::size_t width = queue_->widths().input;
  const std::size_t rows = part.ndim() == 0 ? 0 : static_cast<std::size_t>(part.shape(0));
  if (rows == 0 || static_cast<std::size_t>(part.size()) != rows * width) {
    throw std::invalid_argument("a part that is not one or more rows of " + std::to_string(width) + " numbers");
  }
  return rows;
}

std::optional<Refused> Version::admit(std::uint64_t request, const std::vector<Rows>& parts, Time deadline) {
  std::size_t rows = 0;
  for (const Rows& part : parts) rows += part.count;
  auto reserved = queue_->reserve(rows, deadline);
  if (const auto* refused = std::get_if<Refused>(&reserved)) return *refused;
  const auto ticket = std::make_shared<Ticket>(std::get<Ticket>(std::move(reserved)));
  write(*ticket, parts, queue_->widths().input);
  {
    const std::lock_guard lock(waiting_->mutex);
    waiting_->tickets.emplace(request, ticket);
  }
  ticket->commit([desk = desk_, waiting = waiting_, width = queue_->widths().output, request](const Outcome& outcome) {
    waiting->take(request);
    answer(*desk, request, outcome, width);
  });
  return std::nullopt;
}

void Version::answer(Desk& desk, std::uint64_t request, const Outcome& outcome, std::size_t width) {
  std::vector<float> rows;
  for (const Rows& part : outcome.parts) rows.insert(rows.end(), part.numbers, part.numbers + part.count * width);
  desk.leave([request, ending = outcome.ending, receipt = outcome.receipt, rows = std::move(rows), width,
              fault = fault_number(outcome.failure)] {
    py::object array = py::none();
    if (ending == Ending::answered) array = FloatArray({rows.size() / width, width}, rows.data());
    return py::make_tuple("answered", request, name(ending), array, std::int64_t{receipt.queued.count()},
                          std::int64_t{receipt.computed.count()}, receipt.batch_rows, fault);
  });
}

bool Version::leave(std::uint64_t request) {
  const py::gil_scoped_release unlocked;
  std::shared_ptr<Ticket> ticket;
  {
    const std::lock_guard lock(waiting_->mutex);
    const auto found = waiting_->tickets.find(request);
    if (found == waiting_->tickets.end()) return false;
    ticket = found->second;
  }
  const bool has_left = ticket->leave();
  if (has_left) waiting_->take(request);
  return has_left;
}

std::shared_ptr<Ticket> Version::Waiting::take(std::uint64_t request) {
  const std::lock_guard lock(mutex);
  const auto found = tickets.find(request);
  if (found == tickets.end()) return nullptr;
  std::shared_ptr<Ticket> ticket = std::move(found->second);
  tickets.erase(found);
  return ticket;
}

namespace {

std::shared_ptr<Version> make(const std::shared_ptr<Desk>& desk, Runners& runners,
                              const std::shared_ptr<BatchLedger>& ledger, std::uint64_t number, std::size_t input_width,
                              std::size_t output_width, std::size_t max_batch_rows, std::size_t max_queue_rows,
                              std::size_t max_request_rows, std::int64_t max_queue_delay_ns, std::int64_t max_batch_ns,
                              py::object compute, const py::object& allocate, bool runs_anywhere,
                              const py::object& engine) {
  Limits limits;
  limits.max_batch_rows = max_batch_rows;
  limits.max_queue_rows = max_queue_rows;
  limits.max_request_rows = max_request_rows;
  limits.max_queue_delay = Time{max_queue_delay_ns};
  limits.max_batch_time = Time{max_batch_ns};
  const VersionPtr queue = make_queue({input_width, output_width}, limits, std::move(compute), allocate, engine);
  queue->count_in(ledger);
  if (runs_anywhere) queue->run_anywhere();
  queue->observe(std::make_shared<Teller>(desk, number));
  runners.run(queue);
  return std::make_shared<Version>(desk, queue);
}

void abort(Version& version, std::optional<int> code, std::string words, std::string reason, std::int64_t retry_after) {
  std::optional<grpc_edge::Failure> failure;
  if (code) failure = {static_cast<grpc::StatusCode>(*code), std::move(words), std::move(reason), std::nullopt, 0};
  if (failure && retry_after >= 0) failure->retry_after = Time{retry_after};
  version.abort(failure);
}

}  // namespace

void bind_version(py::module_& module) {
  using namespace py::literals;
  using Unlocked = py::call_guard<py::gil_scoped_release>;
  refused_error = PyErr_NewException("seqserve.native_front._native.Refused", nullptr, nullptr);
  limit_fault = PyErr_NewException("seqserve.native_front._native.LimitFault", PyExc_ValueError, nullptr);
  if (refused_error == nullptr || limit_fault == nullptr) throw py::error_already_set();
  module.add_object("Refused", refused_error);
  module.add_object("LimitFault", limit_fault);
  module.attr("NEVER") = std::int64_t{kNever.count()};
  py::class_<Version, std::shared_ptr<Version>>(module, "Version")
      .def(py::init(&make), "desk"_a, "runners"_a, "ledger"_a, "number"_a, py::kw_only(), "input_width"_a,
           "output_width"_a, "max_batch_rows"_a, "max_queue_rows"_a, "max_request_rows"_a, "max_queue_delay_ns"_a,
           "max_batch_ns"_a, "compute"_a, "allocate"_a = py::none(),
           "runs_anywhere"_a = false, "engine"_a = py::none())
      .def("open", [](const Version& version) { version.queue()->open(); }, Unlocked())
      .def("pause", [](const Version& version) { version.queue()->pause(); }, Unlocked())
      .def("close", [](const Version& version) { version.queue()->close(); }, Unlocked())
      .def("abort", &abort, "code"_a = py::none(), "words"_a = "", "reason"_a = "", "retry_after_ns"_a = -1, Unlocked())
      .def("wait_drained", &Version::wait_drained, "most_ns"_a)
      .def("check", &Version::check, "rows"_a, "deadline"_a)
      .def("submit", &Version::submit, "request"_a, "parts"_a, "deadline"_a)
      .def("leave", &Version::leave, "request"_a)
      .def_property_readonly("waiting_rows",
                             py::cpp_function([](const Version& version) { return version.queue()->waiting_rows(); },
                                              Unlocked()));
}

}  // namespace seqserve::python_edge
