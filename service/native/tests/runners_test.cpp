// Real threads: batches run by themselves, the expired are answered, and everything is joined.
#include "core/runners.h"

#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "core/quickness.h"
#include "core/watch.h"
#include "fakes.h"

namespace seqserve::testing {
namespace {

using Answer = std::future<Ending>;

Limits batches_of(std::size_t rows) {
  Limits limits;
  limits.max_batch_rows = rows;
  return limits;
}

Answer submit(Version& version, Time deadline = kNever) {
  auto promise = std::make_shared<std::promise<Ending>>();
  Answer answer = promise->get_future();
  auto reserved = version.reserve(1, deadline);
  auto& ticket = std::get<Ticket>(reserved);
  const float row = 1;
  ticket.write(&row);
  ticket.commit([promise](const Outcome& outcome) { promise->set_value(outcome.ending); });
  return answer;
}

void double_rows(const float* rows, std::size_t count, float* outputs) {
  for (std::size_t row = 0; row < count; ++row) outputs[row] = 2 * rows[row];
}

TEST(Runners, RunWhatIsDueOfSeveralVersions) {
  const SteadyClock clock;
  Runners runners(2, clock);
  std::vector<VersionPtr> versions;
  for (int index = 0; index < 3; ++index) {
    versions.push_back(Version::make({1, 1}, batches_of(4), double_rows, clock));
    runners.run(*versions.back());
    versions.back()->open();
  }
  std::vector<Answer> answers;
  for (int round = 0; round < 50; ++round) {
    for (const VersionPtr& version : versions) answers.push_back(submit(*version));
  }
  for (Answer& answer : answers) EXPECT_EQ(answer.get(), Ending::answered);
  for (const VersionPtr& version : versions) {
    version->close();
    EXPECT_TRUE(version->wait_drained(10s));
  }
}

TEST(Runners, WaitForTheDelayOfAVersion) {
  const SteadyClock clock;
  Limits limits = batches_of(4);
  limits.max_queue_delay = 5ms;
  Runners runners(1, clock);
  const VersionPtr version = Version::make({1, 1}, limits, double_rows, clock);
  runners.run(*version);
  version->open();
  const Time before = clock.now();
  EXPECT_EQ(submit(*version).get(), Ending::answered);
  EXPECT_GE(clock.now() - before, 5ms);
}

TEST(Runners, ThreadsOfOthersWorkUntilTheyAreStopped) {
  const SteadyClock clock;
  Runners runners(0, clock);
  const VersionPtr version = Version::make({1, 1}, batches_of(4), double_rows, clock);
  runners.run(*version);
  version->open();
  Answer answer = submit(*version);
  std::thread thread([&runners] { runners.work(); });
  EXPECT_EQ(answer.get(), Ending::answered);
  runners.stop();
  thread.join();
  runners.work();  // returns at once
}

TEST(Runners, LeaveToAGuestWhatItBringsAndWhatIsQuick) {
  const SteadyClock clock;
  Runners runners(1, clock);
  std::thread::id computed_by;
  const Engine engine = [&computed_by](const float* rows, std::size_t count, float* outputs) {
    computed_by = std::this_thread::get_id();
    double_rows(rows, count, outputs);
  };
  const VersionPtr version = Version::make({1, 1}, batches_of(4), engine, clock);
  version->run_anywhere();
  runners.run(*version);
  version->open();
  runners.welcome();
  do {
    Answer answer = submit(*version);
    runners.run_own();
    EXPECT_EQ(answer.get(), Ending::answered);
  } while (computed_by != std::this_thread::get_id());
  Answer left = submit(*version);
  runners.dismiss();
  EXPECT_EQ(left.get(), Ending::answered);
  EXPECT_FALSE(runners.run_own());
  version->close();
  EXPECT_TRUE(version->wait_drained(10s));
  EXPECT_NE(computed_by, std::this_thread::get_id());
}

TEST(Quickness, IsTheMedianOfTheLastAndEndsWithOneThatIsTooSlow) {
  Quickness quickness;
  for (int batch = 0; batch < 4; ++batch) quickness.measure(1, 100us);
  EXPECT_FALSE(quickness.is_proved(1));
  quickness.measure(1, 2ms);
  EXPECT_TRUE(quickness.is_proved(1));
  quickness.measure(1, 5ms);
  EXPECT_FALSE(quickness.is_proved(1));
  for (int batch = 0; batch < 4; ++batch) quickness.measure(1, 100us);
  EXPECT_TRUE(quickness.is_proved(1));
  for (int batch = 0; batch < 2; ++batch) quickness.measure(1, 600us);
  EXPECT_TRUE(quickness.is_proved(1)) << "they are the fewer";
  quickness.measure(1, 600us);
  EXPECT_FALSE(quickness.is_proved(1));
}

TEST(Quickness, IsProvedForEachSizeByItself) {
  Quickness quickness;
  for (int batch = 0; batch < 5; ++batch) {
    quickness.measure(1, 100us);
    quickness.measure(5, 4ms);
  }
  EXPECT_TRUE(quickness.is_proved(1));
  EXPECT_FALSE(quickness.is_proved(4));
  EXPECT_FALSE(quickness.is_proved(8));
  for (int batch = 0; batch < 3; ++batch) quickness.measure(8, 400us);
  EXPECT_TRUE(quickness.is_proved(7));
}

// The slot that waits for the delayed one takes another batch, and blocks in it.
TEST(Runners, AnIdleSlotLooksAfterWhatIsDueLater) {
  const SteadyClock clock;
  Runners runners(2, clock);
  Limits delayed = batches_of(4);
  delayed.max_queue_delay = 20ms;
  const VersionPtr later = Version::make({1, 1}, delayed, double_rows, clock);
  std::promise<void> goes_on;
  const auto go = goes_on.get_future().share();
  const Engine blocks = [go](const float*, std::size_t, float*) { go.wait(); };
  const VersionPtr blocked = Version::make({1, 1}, batches_of(1), blocks, clock);
  for (const VersionPtr& version : {later, blocked}) {
    runners.run(*version);
    version->open();
  }
  std::this_thread::sleep_for(5ms);  // both slots wait by now
  Answer late = submit(*later);
  std::this_thread::sleep_for(5ms);
  Answer busy = submit(*blocked);
  EXPECT_EQ(late.get(), Ending::answered);
  goes_on.set_value();
  EXPECT_EQ(busy.get(), Ending::answered);
}

TEST(Runners, MayGoBeforeTheirVersions) {
  const SteadyClock clock;
  const VersionPtr version = Version::make({1, 1}, batches_of(4), double_rows, clock);
  {
    Runners runners(1, clock);
    runners.run(*version);
  }
  version->open();
  Answer answer = submit(*version);
  version->abort();
  EXPECT_EQ(answer.get(), Ending::closing);
}

TEST(Sealing, WaitsForWritersAndLeavesOutThoseWhoLetGo) {
  const SteadyClock clock;
  FakeEngine engine;
  const VersionPtr version = Version::make({1, 1}, batches_of(4), [&](auto... batch) { engine.run(batch...); }, clock);
  version->open();
  auto let_go = std::make_unique<Caller>(*version, std::vector<float>{7});
  Answer answer = submit(*version);
  Caller writer(*version, {3});
  std::thread thread([&version] { version->run_next(); });
  // Sealed: nobody waits any more.
  while (version->waiting_rows() != 0) std::this_thread::sleep_for(100us);
  EXPECT_TRUE(engine.batches.empty());
  let_go.reset();
  writer.commit();
  thread.join();
  EXPECT_EQ(answer.get(), Ending::answered);
  EXPECT_EQ(engine.batches, (std::vector<std::vector<float>>{{1, 3}}));
  EXPECT_EQ(writer.heard().rows, (std::vector<float>{6}));
  EXPECT_EQ(version->ledger().read().dropped[static_cast<std::size_t>(Drop::departed)], 1U);
  EXPECT_EQ(version->buffers_in_use(), 0U);
}

TEST(Watch, AnswersTheExpiredWhileTheEngineIsBusy) {
  const SteadyClock clock;
  std::promise<void> goes_on;
  const auto go = goes_on.get_future().share();
  Runners runners(1, clock);
  Watch watch;
  const Engine engine = [go](const float*, std::size_t, float*) { go.wait(); };
  const VersionPtr version = Version::make({1, 1}, batches_of(1), engine, clock);
  runners.run(*version);
  watch.over(version);
  version->open();
  Answer busy = submit(*version);
  Answer late = submit(*version, clock.now() + 20ms);
  EXPECT_EQ(late.get(), Ending::expired);
  goes_on.set_value();
  EXPECT_EQ(busy.get(), Ending::answered);
}

}  // namespace
}  // namespace seqserve::testing
