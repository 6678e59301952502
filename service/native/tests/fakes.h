// A clock and an engine that do only what a test tells them, and callers that remember what they heard.
#pragma once

#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/version.h"

namespace seqserve::testing {

using namespace std::chrono_literals;

// Time stands still until a test moves it.
class FakeClock final : public Clock {
 public:
  Time now() const override { return now_; }
  void advance(Time time) { now_ += time; }

 private:
  Time now_ = 1000s;
};

// Rows of one number in, its double out.
struct FakeEngine {
  std::vector<std::vector<float>> batches;
  std::string failure;

  void run(const float* rows, std::size_t count, float* outputs) {
    batches.emplace_back(rows, rows + count);
    if (!failure.empty()) throw std::runtime_error(failure);
    for (std::size_t row = 0; row < count; ++row) outputs[row] = 2 * rows[row];
  }
};

inline std::string words_of(const std::exception_ptr& failure) {
  if (failure == nullptr) return "";
  try {
    std::rethrow_exception(failure);
  } catch (const std::exception& error) {
    return error.what();
  }
}

// What a caller heard, if it has.
struct Heard {
  std::optional<Ending> ending;
  std::vector<float> rows;
  Receipt receipt;
  std::string message;
  int times = 0;

  void note(const Outcome& outcome) {
    ++times;
    ending = outcome.ending;
    receipt = outcome.receipt;
    message = words_of(outcome.failure);
    for (const Rows& part : outcome.parts) rows.insert(rows.end(), part.numbers, part.numbers + part.count);
  }
};

// A caller of a version with rows of one number.
class Caller {
 public:
  Caller(Version& version, const std::vector<float>& rows, Time deadline = kNever)
      : reserved_(version.reserve(rows.size(), deadline)) {
    if (is_admitted()) ticket().write(rows.data());
  }

  bool is_admitted() const { return std::holds_alternative<Ticket>(reserved_); }
  Refused refused() const { return std::get<Refused>(reserved_); }
  Ticket& ticket() { return std::get<Ticket>(reserved_); }

  void commit() {
    ticket().commit([heard = heard_](const Outcome& outcome) { heard->note(outcome); });
  }

  const Heard& heard() const { return *heard_; }

 private:
  std::shared_ptr<Heard> heard_ = std::make_shared<Heard>();
  std::variant<Ticket, Refused> reserved_;
};

inline Caller ask(Version& version, const std::vector<float>& rows, Time deadline = kNever) {
  Caller caller(version, rows, deadline);
  if (caller.is_admitted()) caller.commit();
  return caller;
}

}  // namespace seqserve::testing
