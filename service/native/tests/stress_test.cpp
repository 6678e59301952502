// Many callers, few engines, everything at once: random sizes, deadlines, departures, slow writers, failing
// engines, pauses, versions that are replaced and drained in the middle. Whatever happens, each caller has one
// outcome, each answer has its own rows, and staging memory stays within its bounds and is given back.
//
// Meant for ThreadSanitizer and AddressSanitizer; SEQSERVE_STRESS_REQUESTS makes it longer.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <limits>
#include <random>
#include <thread>

#include "core/runners.h"
#include "core/watch.h"
#include "fakes.h"

namespace seqserve::testing {
namespace {

constexpr std::size_t kInputs = 3;
constexpr std::size_t kOutputs = 2;
constexpr std::size_t kCallers = 6;

std::size_t requests_per_caller() {
  const char* wished = std::getenv("SEQSERVE_STRESS_REQUESTS");
  return wished == nullptr ? 3000 : std::strtoul(wished, nullptr, 10);
}

// Counts what is held, in bytes, and the most that ever was.
class Ledger {
 public:
  Memory memory() {
    return [this](std::size_t count) {
      const std::size_t bytes = count * sizeof(float);
      const std::size_t held = held_ += bytes;
      std::size_t most = most_;
      while (held > most && !most_.compare_exchange_weak(most, held)) {
      }
      Floats floats = host_memory(count);
      return Floats(floats.get(), [this, floats, bytes](float*) { held_ -= bytes; });
    };
  }

  std::size_t held() const { return held_; }
  std::size_t most() const { return most_; }

 private:
  std::atomic<std::size_t> held_{0};
  std::atomic<std::size_t> most_{0};
};

// A row tells whose it is, and the answer tells it back.
float identity(std::size_t request, std::size_t row) { return static_cast<float>((request * 31 + row) % 1000003); }

// Rows that the engine saw and nobody had committed.
std::atomic<std::size_t> unwritten_rows{0};

void engine(const float* rows, std::size_t count, float* outputs) {
  thread_local std::minstd_rand random{std::random_device{}()};
  for (std::size_t row = 0; row < count; ++row) {
    const float* input = rows + row * kInputs;
    if (!(input[0] + input[1] == input[2])) ++unwritten_rows;
    outputs[row * kOutputs] = input[0];
    outputs[row * kOutputs + 1] = input[1] + 1;
  }
  const auto what = random() % 64;
  if (what == 0) throw std::runtime_error("fails now and then");
  if (what == 1) std::this_thread::sleep_for(30ms);  // overdue
  if (what < 16) std::this_thread::sleep_for(std::chrono::microseconds(random() % 200));
}

struct Promise {
  std::atomic<int> told{0};
  std::atomic<int> wrong{0};
};

struct Totals {
  std::atomic<std::size_t> refused{0};
  std::atomic<std::size_t> told{0};
  std::atomic<std::size_t> answered{0};
  std::atomic<std::size_t> left{0};
  std::atomic<std::size_t> broken{0};
};

class Stress : public ::testing::Test {
 protected:
  Stress() { replace(); }

  static Limits limits() {
    Limits limits;
    limits.max_batch_rows = 8;
    limits.max_queue_rows = 64;
    limits.max_request_rows = 20;
    limits.max_batch_time = 20ms;
    return limits;
  }

  VersionPtr make() {
    VersionPtr version = Version::make({kInputs, kOutputs}, limits(), engine, clock_, ledger_.memory());
    runners_.run(*version);
    watch_.over(version);
    version->open();
    return version;
  }

  VersionPtr current() { return std::atomic_load(&version_); }

  // As a reload does: the next version takes over, the one before is drained.
  void replace() {
    VersionPtr next = make();
    all_.push_back(next);
    const VersionPtr before = std::atomic_exchange(&version_, next);
    if (before != nullptr) before->close();
  }

  void call(std::size_t caller) {
    std::minstd_rand random{static_cast<unsigned>(caller + 1)};
    for (std::size_t round = 0; round < requests_per_caller(); ++round) one_request(caller * 1000000 + round, random);
  }

  void one_request(std::size_t request, std::minstd_rand& random) {
    const std::size_t rows = random() % 4 == 0 ? 1 + random() % 20 : 1;
    const Time deadline = random() % 3 == 0 ? clock_.now() + std::chrono::microseconds(random() % 3000) : kNever;
    auto reserved = current()->reserve(rows, deadline);
    if (std::holds_alternative<Refused>(reserved)) {
      ++totals_.refused;
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 300));
      return;
    }
    auto& ticket = std::get<Ticket>(reserved);
    const auto manner = random() % 16;
    spoil(ticket);
    if (manner == 0) {
      if (random() % 2 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 500));
      ++totals_.left;
      return;  // lets the ticket go, its rows unwritten
    }
    if (manner == 1) std::this_thread::sleep_for(std::chrono::microseconds(random() % 500));
    write(ticket, request);
    const auto promise = std::make_shared<Promise>();
    ticket.commit([this, promise, request, rows](const Outcome& outcome) { hear(*promise, outcome, request, rows); });
    if (manner < 5) {
      leave(ticket, *promise, std::chrono::microseconds(random() % 400));
    } else if (manner < 10) {
      while (promise->told == 0) std::this_thread::sleep_for(20us);
    }
    promises_[request / 1000000].push_back(promise);
  }

  // What lies there from before is a good row; whoever reads too early is to be found out.
  static void spoil(const Ticket& ticket) {
    for (std::size_t index = 0; index < ticket.slots(); ++index) {
      const Slot slot = ticket.slot(index);
      std::fill_n(slot.numbers, slot.count * kInputs, std::numeric_limits<float>::quiet_NaN());
    }
  }

  void write(const Ticket& ticket, std::size_t request) {
    std::size_t row = 0;
    for (std::size_t index = 0; index < ticket.slots(); ++index) {
      const Slot slot = ticket.slot(index);
      for (std::size_t place = 0; place < slot.count; ++place, ++row) {
        float* numbers = slot.numbers + place * kInputs;
        numbers[0] = identity(request, row);
        numbers[1] = static_cast<float>(row);
        numbers[2] = numbers[0] + numbers[1];
      }
    }
  }

  void leave(Ticket& ticket, const Promise& promise, std::chrono::microseconds after) {
    std::this_thread::sleep_for(after);
    if (!ticket.leave()) return;
    ++totals_.left;
    if (promise.told != 0) ++totals_.broken;
    // Should the completion come all the same, `told` in the end does not add up.
  }

  void hear(Promise& promise, const Outcome& outcome, std::size_t request, std::size_t rows) {
    if (++promise.told != 1) ++totals_.broken;
    ++totals_.told;
    if (outcome.ending != Ending::answered) {
      if (!outcome.parts.empty()) ++totals_.broken;
      return;
    }
    ++totals_.answered;
    std::size_t row = 0;
    for (const Rows& part : outcome.parts) {
      for (std::size_t place = 0; place < part.count; ++place, ++row) {
        const float* numbers = part.numbers + place * kOutputs;
        if (numbers[0] != identity(request, row) || numbers[1] != static_cast<float>(row + 1)) ++totals_.broken;
      }
    }
    if (row != rows) ++totals_.broken;
  }

  const SteadyClock clock_;
  Ledger ledger_;
  Totals totals_;
  std::vector<std::vector<std::shared_ptr<Promise>>> promises_{kCallers};
  Runners runners_{2, clock_};
  Watch watch_;
  std::vector<VersionPtr> all_;
  VersionPtr version_;
};

TEST_F(Stress, EveryCallerHasOneOutcomeAndItsOwnRows) {
  std::vector<std::thread> callers;
  for (std::size_t caller = 0; caller < kCallers; ++caller) callers.emplace_back([this, caller] { call(caller); });
  for (int change = 0; change < 8; ++change) {
    std::this_thread::sleep_for(20ms);
    if (change % 3 == 1) {
      const VersionPtr paused = current();
      paused->pause();
      std::this_thread::sleep_for(1ms);
      paused->open();
    } else {
      replace();
    }
    if (change == 5) all_.front()->abort();
  }
  for (std::thread& caller : callers) caller.join();
  for (const VersionPtr& version : all_) version->close();
  for (const VersionPtr& version : all_) ASSERT_TRUE(version->wait_drained(60s));

  for (const VersionPtr& version : all_) {
    EXPECT_EQ(version->buffers_in_use(), 0U);
    EXPECT_EQ(version->waiting_rows(), 0U);
  }
  EXPECT_EQ(totals_.broken, 0U);
  EXPECT_EQ(unwritten_rows, 0U);
  EXPECT_EQ(totals_.refused + totals_.told + totals_.left, kCallers * requests_per_caller());
  EXPECT_GT(totals_.answered, 0U);
  const std::size_t buffer = buffer_bytes({kInputs, kOutputs}, limits());
  EXPECT_LE(ledger_.most(), all_.size() * all_.front()->max_buffers() * buffer);
  std::printf("refused %zu, answered %zu, ended otherwise %zu, left %zu\n", totals_.refused.load(),
              totals_.answered.load(), totals_.told - totals_.answered, totals_.left.load());
  version_.reset();
  all_.clear();
  // The watch may hold a version for the length of a sweep.
  for (int wait = 0; ledger_.held() != 0 && wait < 1000; ++wait) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(ledger_.held(), 0U);
}

}  // namespace
}  // namespace seqserve::testing
