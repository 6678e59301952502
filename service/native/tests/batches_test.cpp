// What is counted and told of a version's batches, and of the rows that never reached one.
#include <string>
#include <vector>

#include "version_bench.h"

namespace seqserve::testing {
namespace {

using BatchesTest = VersionTest;

TEST_F(BatchesTest, RowsThatNeverReachedTheModelAreCountedByTheirCause) {
  ask(*version, {1, 2, 3});
  ask(*version, {4}).ticket().leave();
  Caller late = ask(*version, {5}, clock.now() + 1s);
  clock.advance(1s);
  late.ticket().leave();
  const Caller sealed_late = ask(*version, {6}, clock.now() + 1s);
  clock.advance(1s);
  version->run_next();
  EXPECT_EQ(dropped(Drop::departed), 1U);
  EXPECT_EQ(dropped(Drop::expired), 2U);
  ask(*version, {7, 8});
  version->pause();
  version->open();
  ask(*version, {9, 10, 11});
  version->abort();
  EXPECT_EQ(dropped(Drop::away), 2U);
  EXPECT_EQ(dropped(Drop::aborted), 3U);
}

TEST_F(BatchesTest, WhatStillWaitsOfAFailedRequestIsCounted) {
  ask(*version, {0, 1, 2, 3, 4, 5});
  engine.failure = "away";
  version->run_next();
  EXPECT_EQ(dropped(Drop::failed), 2U);
}

TEST_F(BatchesTest, BatchesAreCountedByWhatSealedThemAndBySize) {
  using Bounds = std::vector<std::uint64_t>;
  const auto ledger = std::make_shared<BatchLedger>(Bounds{1'000'000'000}, Bounds{1, 4});
  version = Version::make({1, 1}, limits, [this](auto... batch) {
    engine.run(batch...);
    clock.advance(2s);
  }, clock);
  version->count_in(ledger);
  version->open();
  ask(*version, {1, 2, 3, 4, 5});
  version->run_next();
  version->run_next();
  ask(*version, {6});
  version->close();
  version->run_next();
  const BatchSnapshot counts = ledger->read();
  EXPECT_EQ(counts.reasons, (std::array<std::uint64_t, kFlushes>{1, 1, 0, 1})) << "full, idle, delay, drain";
  EXPECT_EQ(counts.examples.buckets, (std::vector<std::uint64_t>{2, 1, 0}));
  EXPECT_EQ(counts.examples.sum, 6U);
  EXPECT_EQ(counts.compute.buckets, (std::vector<std::uint64_t>{0, 3}));
  EXPECT_EQ(counts.by_size.at(1).batches, 2U);
  EXPECT_EQ(counts.by_size.at(1).compute, 4'000'000'000U);
  EXPECT_EQ(counts.by_size.at(4).batches, 1U);
}

TEST_F(BatchesTest, ACheckSaysWhatAReservationWouldAndTakesNothing) {
  EXPECT_FALSE(version->check(10, kNever).has_value());
  EXPECT_EQ(version->waiting_rows(), 0U);
  EXPECT_EQ(version->check(11, kNever)->reason, Refusal::full);
  EXPECT_EQ(version->check(11, kNever)->retry_after, kRetryGuess);
  EXPECT_EQ(version->check(1, clock.now())->reason, Refusal::expired);
}

// Remembers what it heard, in order.
struct Notes final : BatchObserver {
  void failed(std::size_t rows, const std::exception_ptr& failure) override {
    heard.push_back("failed " + std::to_string(rows) + " " + words_of(failure));
  }
  void overdue(std::size_t rows) override { heard.push_back("overdue " + std::to_string(rows)); }
  void recovered(Time computed, const std::exception_ptr& failure) override {
    heard.push_back("recovered " + std::to_string(computed / 1s) + " " + words_of(failure));
  }
  std::vector<std::string> heard;
};

TEST_F(BatchesTest, AnObserverHearsOfBatchesThatGoWrong) {
  limits.max_batch_time = 1s;
  Time takes = 0s;
  version = Version::make({1, 1}, limits, [&](auto... batch) {
    clock.advance(takes);
    version->sweep();
    engine.run(batch...);
  }, clock);
  const auto notes = std::make_shared<Notes>();
  version->observe(notes);
  version->open();
  ask(*version, {1, 2});
  engine.failure = "broken";
  version->run_next();
  takes = 3s;
  ask(*version, {3});
  version->run_next();
  engine.failure.clear();
  ask(*version, {4});
  version->run_next();
  EXPECT_EQ(notes->heard, (std::vector<std::string>{"failed 2 broken", "overdue 1", "recovered 3 broken", "overdue 1",
                                                    "recovered 3 "}));
}

// What only whoever runs the engine knows.
struct Numbered {
  std::uint64_t number;
};

TEST_F(BatchesTest, CallersSeeWhatTheEngineThrew) {
  version = Version::make({1, 1}, limits, [](auto...) { throw Numbered{7}; }, clock);
  version->open();
  Caller caller(*version, {1});
  std::uint64_t number = 0;
  caller.ticket().commit([&number](const Outcome& outcome) {
    try {
      std::rethrow_exception(outcome.failure);
    } catch (const Numbered& fault) {
      number = fault.number;
    }
  });
  version->run_next();
  EXPECT_EQ(number, 7U);
}

}  // namespace
}  // namespace seqserve::testing
