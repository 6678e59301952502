// The rules of a version, one by one: gathering, leaving, failing, draining. No threads, no real time.
#include "core/version.h"

#include <stdexcept>

#include "version_bench.h"

namespace seqserve::testing {
namespace {

TEST_F(VersionTest, CallersShareABatchAndEachGetsItsOwnRows) {
  const Caller a = ask(*version, {1});
  const Caller b = ask(*version, {2, 3});
  EXPECT_TRUE(version->run_next());
  EXPECT_EQ(engine.batches, (std::vector<std::vector<float>>{{1, 2, 3}}));
  EXPECT_EQ(a.heard().ending, Ending::answered);
  EXPECT_EQ(a.heard().rows, (std::vector<float>{2}));
  EXPECT_EQ(b.heard().rows, (std::vector<float>{4, 6}));
  EXPECT_FALSE(version->run_next());
  EXPECT_EQ(version->buffers_in_use(), 0U);
}

TEST_F(VersionTest, ABatchIsNeverLargerThanTheLimitAndNobodyOvertakes) {
  ask(*version, {1, 1, 1});
  ask(*version, {2, 2});
  ask(*version, {3});
  while (version->run_next()) {
  }
  EXPECT_EQ(engine.batches, (std::vector<std::vector<float>>{{1, 1, 1}, {2, 2, 3}}));
}

TEST_F(VersionTest, ALargeRequestIsCutAndRejoinedInOrder) {
  const Caller caller = ask(*version, {0, 1, 2, 3, 4, 5, 6, 7, 8});
  EXPECT_EQ(version->buffers_in_use(), 3U);
  EXPECT_TRUE(version->run_next());
  EXPECT_TRUE(version->run_next());
  EXPECT_EQ(caller.heard().times, 0);
  EXPECT_EQ(version->buffers_in_use(), 3U) << "each is held until the reply";
  EXPECT_TRUE(version->run_next());
  EXPECT_EQ(caller.heard().rows, (std::vector<float>{0, 2, 4, 6, 8, 10, 12, 14, 16}));
  EXPECT_EQ(version->buffers_in_use(), 0U);
}

TEST_F(VersionTest, WhoLeavesBeforeSealingNeverReachesTheModel) {
  Caller a = ask(*version, {1});
  const Caller b = ask(*version, {2});
  const Caller c = ask(*version, {3});
  EXPECT_TRUE(a.ticket().leave());
  EXPECT_FALSE(a.ticket().leave());
  version->run_next();
  EXPECT_EQ(engine.batches, (std::vector<std::vector<float>>{{3, 2}})) << "the last row takes the gap";
  EXPECT_EQ(b.heard().rows, (std::vector<float>{4}));
  EXPECT_EQ(c.heard().rows, (std::vector<float>{6}));
  EXPECT_EQ(a.heard().times, 0);
  EXPECT_EQ(dropped(Drop::departed), 1U);
}

TEST_F(VersionTest, AGapThatNoPieceFitsIsClosedWhenTheBatchIsSealed) {
  Caller a = ask(*version, {1, 1});
  const Caller b = ask(*version, {2});
  const Caller c = ask(*version, {3});
  a.ticket().leave();
  version->run_next();
  EXPECT_EQ(engine.batches, (std::vector<std::vector<float>>{{2, 3}}));
  EXPECT_EQ(b.heard().rows, (std::vector<float>{4}));
  EXPECT_EQ(c.heard().rows, (std::vector<float>{6}));
}

TEST_F(VersionTest, TheRoomOfThoseWhoLeftAFullBatchIsForTheNext) {
  Caller a = ask(*version, {1, 1});
  const Caller b = ask(*version, {2, 2});
  const Caller c = ask(*version, {3});
  const Caller d = ask(*version, {4});
  const Caller e = ask(*version, {5});
  a.ticket().leave();
  EXPECT_TRUE(version->run_next());
  EXPECT_TRUE(version->run_next());
  EXPECT_EQ(engine.batches, (std::vector<std::vector<float>>{{2, 2, 3, 4}, {5}}));
  EXPECT_EQ(d.heard().rows, (std::vector<float>{8}));
  EXPECT_EQ(e.heard().rows, (std::vector<float>{10}));
  EXPECT_EQ(version->buffers_in_use(), 0U);
}

TEST_F(VersionTest, ABufferThatTheBatchBeforeEmptiedIsGivenBack) {
  Caller a = ask(*version, {1, 1, 1});
  const Caller b = ask(*version, {2, 2});
  a.ticket().leave();
  const Caller c = ask(*version, {3, 3});
  EXPECT_TRUE(version->run_next());
  EXPECT_EQ(engine.batches, (std::vector<std::vector<float>>{{2, 2, 3, 3}}));
  EXPECT_EQ(c.heard().rows, (std::vector<float>{6, 6}));
  EXPECT_EQ(version->buffers_in_use(), 0U);
}

TEST_F(VersionTest, NobodyIsMovedWhileStillWriting) {
  Caller a = ask(*version, {1, 1, 1, 1});
  const Caller b = ask(*version, {2});
  a.ticket().leave();
  Caller c = ask(*version, {3, 3, 3});
  Caller writer(*version, {4});
  c.ticket().leave();
  EXPECT_TRUE(version->run_next()) << "b, and what was written of the others";
  writer.commit();
  EXPECT_TRUE(version->run_next());
  EXPECT_EQ(engine.batches, (std::vector<std::vector<float>>{{2}, {4}}));
  EXPECT_EQ(writer.heard().rows, (std::vector<float>{8}));
}

TEST_F(VersionTest, NothingRunsWhereEverybodyHasLeft) {
  Caller a = ask(*version, {1});
  a.ticket().leave();
  EXPECT_EQ(version->due(), kNever);
  EXPECT_FALSE(version->run_next());
  EXPECT_EQ(version->buffers_in_use(), 0U);
}

TEST_F(VersionTest, WhoLeavesLaterIsComputedAndDiscarded) {
  Caller* leaver = nullptr;
  version = Version::make({1, 1}, limits, [&](auto... batch) {
    EXPECT_TRUE(leaver->ticket().leave());
    engine.run(batch...);
  }, clock);
  version->open();
  Caller a = ask(*version, {1});
  const Caller b = ask(*version, {2});
  leaver = &a;
  version->run_next();
  EXPECT_EQ(engine.batches, (std::vector<std::vector<float>>{{1, 2}}));
  EXPECT_EQ(a.heard().times, 0);
  EXPECT_EQ(b.heard().rows, (std::vector<float>{4}));
  EXPECT_EQ(dropped(Drop::departed), 0U);
  EXPECT_EQ(version->buffers_in_use(), 0U);
}

TEST_F(VersionTest, ATicketThatIsLetGoGivesItsRoomBack) {
  { Caller caller(*version, {1, 2, 3}); }
  EXPECT_EQ(version->waiting_rows(), 0U);
  EXPECT_EQ(version->buffers_in_use(), 0U);
  EXPECT_EQ(dropped(Drop::departed), 3U);
}

TEST_F(VersionTest, WhoIsStillWritingIsNotMoved) {
  Caller a = ask(*version, {1});
  auto reserved = version->reserve(1);
  auto& writer = std::get<Ticket>(reserved);
  const Slot slot = writer.slot(0);
  a.ticket().leave();
  EXPECT_EQ(version->due(), kNever) << "nobody has committed";
  *slot.numbers = 2;
  Heard heard;
  writer.commit([&heard](const Outcome& outcome) { heard.note(outcome); });
  version->run_next();
  EXPECT_EQ(engine.batches, (std::vector<std::vector<float>>{{2}}));
  EXPECT_EQ(heard.rows, (std::vector<float>{4}));
}

TEST_F(VersionTest, AFailureAnswersAllOfItsBatchAndNobodyElse) {
  const Caller a = ask(*version, {1, 1});
  const Caller b = ask(*version, {2, 2});
  const Caller c = ask(*version, {3});
  engine.failure = "out of memory";
  version->run_next();
  engine.failure.clear();
  version->run_next();
  EXPECT_EQ(a.heard().ending, Ending::engine_failed);
  EXPECT_EQ(b.heard().message, "out of memory");
  EXPECT_EQ(c.heard().rows, (std::vector<float>{6}));
  EXPECT_EQ(version->ledger().read().failed, 1U);
  EXPECT_EQ(version->buffers_in_use(), 0U);
}

TEST_F(VersionTest, WhatStillWaitsOfAFailedRequestIsDropped) {
  const Caller caller = ask(*version, {0, 1, 2, 3, 4, 5});
  engine.failure = "away";
  version->run_next();
  EXPECT_EQ(caller.heard().ending, Ending::engine_failed);
  EXPECT_EQ(caller.heard().times, 1);
  EXPECT_EQ(version->waiting_rows(), 0U);
  EXPECT_FALSE(version->run_next());
}

TEST_F(VersionTest, AFullQueueRefusesWholeRequests) {
  const Caller a = ask(*version, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  EXPECT_EQ(ask(*version, {1, 2}).refused().reason, Refusal::full);
  EXPECT_TRUE(ask(*version, {1}).is_admitted());
  EXPECT_EQ(version->ledger().read().refused[static_cast<std::size_t>(Refusal::full)], 2U);
}

TEST_F(VersionTest, RequestsThatNoVersionCouldTakeAreTheCallersMistake) {
  EXPECT_THROW(version->reserve(0), std::invalid_argument);
  EXPECT_THROW(version->reserve(11), std::invalid_argument);
}

TEST_F(VersionTest, ADeadlineThatTheQueueWouldMissIsRefused) {
  version = Version::make({1, 1}, limits, [this](auto... batch) {
    engine.run(batch...);
    clock.advance(1s);
  }, clock);
  version->open();
  ask(*version, {1});
  version->run_next();
  ask(*version, {1, 2, 3});
  const Caller hopeless = ask(*version, {1}, clock.now() + 3s);
  EXPECT_EQ(hopeless.refused().reason, Refusal::deadline);
  EXPECT_NEAR(std::chrono::duration<double>(hopeless.refused().retry_after).count(), 3.6, 1e-6);
  EXPECT_TRUE(ask(*version, {1}, clock.now() + 4s).is_admitted());
}

TEST_F(VersionTest, ThePastIsRefusedAndTheExpiredAreAnswered) {
  EXPECT_EQ(ask(*version, {1}, clock.now()).refused().reason, Refusal::expired);
  const Caller a = ask(*version, {1}, clock.now() + 1s);
  const Caller b = ask(*version, {2}, clock.now() + 2s);
  EXPECT_EQ(version->sweep(), clock.now() + 1s);
  clock.advance(1s);
  EXPECT_EQ(version->sweep(), clock.now() + 1s);
  EXPECT_EQ(a.heard().ending, Ending::expired);
  clock.advance(1s);
  EXPECT_FALSE(version->run_next()) << "late when the batch is sealed, without a sweep";
  EXPECT_EQ(b.heard().ending, Ending::expired);
  EXPECT_TRUE(engine.batches.empty());
}

TEST_F(VersionTest, ADelayWaitsForAFullerBatchAndNoLonger) {
  limits.max_queue_delay = 10ms;
  start();
  ask(*version, {1});
  EXPECT_EQ(version->due(), clock.now() + 10ms);
  clock.advance(4ms);
  ask(*version, {2});
  EXPECT_FALSE(version->run_next());
  clock.advance(6ms);
  EXPECT_TRUE(version->run_next());
  ask(*version, {1, 2, 3, 4});
  EXPECT_EQ(version->due(), clock.now()) << "full";
}

TEST_F(VersionTest, ACallerWithoutTimeForTheDelayIsNotKept) {
  limits.max_queue_delay = 10ms;
  start();
  ask(*version, {1});
  ask(*version, {2}, clock.now() + 5ms);
  EXPECT_TRUE(version->run_next());
}

TEST_F(VersionTest, ClosingFinishesWhatIsQueuedAndTakesNothingNew) {
  limits.max_queue_delay = 1s;
  start();
  const Caller a = ask(*version, {1});
  version->close();
  EXPECT_EQ(ask(*version, {2}).refused().reason, Refusal::closing);
  EXPECT_FALSE(version->wait_drained(0s));
  EXPECT_TRUE(version->run_next());
  EXPECT_EQ(a.heard().ending, Ending::answered);
  EXPECT_TRUE(version->wait_drained(0s));
}

TEST_F(VersionTest, AbortAnswersEverybodyAtOnce) {
  const Caller a = ask(*version, {1, 2, 3, 4, 5});
  Caller writer(*version, {1});
  version->abort();
  EXPECT_EQ(a.heard().ending, Ending::closing);
  writer.commit();
  EXPECT_EQ(writer.heard().ending, Ending::closing) << "told as soon as somebody listens";
  EXPECT_TRUE(version->wait_drained(0s));
  EXPECT_EQ(version->buffers_in_use(), 0U);
}

TEST_F(VersionTest, WhoStoodBehindOneThatEndedWhileItWroteIsDueAtItsCommit) {
  limits.max_batch_rows = 2;
  start();
  std::size_t told = 0;
  version->listen([&](const VersionPtr&, Time) { ++told; });
  Caller slow(*version, {1, 2}, clock.now() + 1ms);
  Caller next = ask(*version, {3});
  EXPECT_EQ(told, 0U) << "nobody passes a writer";
  clock.advance(2ms);
  version->sweep();
  slow.commit();
  EXPECT_EQ(slow.heard().ending, Ending::expired);
  EXPECT_EQ(told, 1U);
  EXPECT_TRUE(version->run_next());
  EXPECT_EQ(next.heard().ending, Ending::answered);
}

TEST_F(VersionTest, WhereTheMemoryIsFullBeforeTheQueueTheRefusalSaysSo) {
  limits.max_batch_rows = 1;
  limits.max_queue_rows = 100;
  limits.max_request_rows = 3;
  limits.max_staging_bytes = 1;
  start();
  const Caller most = ask(*version, {1, 2, 3});
  const Refused refused = ask(*version, {4}).refused();
  EXPECT_EQ(refused.reason, Refusal::full);
  EXPECT_EQ(refused.waiting_rows, 3U);
  EXPECT_EQ(refused.memory_bytes, 3 * 2 * sizeof(float));
  EXPECT_EQ(version->ledger().read().refused[static_cast<std::size_t>(Refusal::full)], 1U);
}

TEST_F(VersionTest, WhoLetsGoOfWhatHadEndedHasLeft) {
  {
    Caller writer(*version, {1});
    version->pause();
  }
  EXPECT_EQ(dropped(Drop::away), 1U);
  EXPECT_EQ(dropped(Drop::departed), 0U) << "it counts once";
  EXPECT_EQ(version->buffers_in_use(), 0U);
}

TEST_F(VersionTest, NotReadyUntilOpenAndWhileTheEngineIsAway) {
  version = Version::make({1, 1}, limits, [this](auto... batch) { engine.run(batch...); }, clock);
  EXPECT_EQ(ask(*version, {1}).refused().reason, Refusal::away);
  version->open();
  const Caller a = ask(*version, {1});
  version->pause();
  EXPECT_EQ(a.heard().ending, Ending::away);
  EXPECT_EQ(ask(*version, {1}).refused().reason, Refusal::away);
  version->open();
  EXPECT_TRUE(ask(*version, {1}).is_admitted());
}

TEST_F(VersionTest, AnOverdueBatchAnswersEverybodyAndTheVersionRecovers) {
  limits.max_batch_time = 1s;
  Caller* waiting = nullptr;
  version = Version::make({1, 1}, limits, [&](auto... batch) {
    Caller late = ask(*version, {7});
    waiting = &late;
    clock.advance(1s);
    version->sweep();
    EXPECT_EQ(late.heard().ending, Ending::stuck);
    EXPECT_EQ(ask(*version, {1}).refused().reason, Refusal::overdue);
    EXPECT_EQ(version->buffers_in_use(), 1U) << "the engine still writes into it";
    engine.run(batch...);
  }, clock);
  version->open();
  const Caller a = ask(*version, {1});
  EXPECT_TRUE(version->run_next());
  EXPECT_EQ(a.heard().ending, Ending::overdue);
  EXPECT_EQ(a.heard().times, 1);
  EXPECT_TRUE(ask(*version, {1}).is_admitted());
  EXPECT_EQ(version->ledger().read().recovered, 1U);
}

TEST_F(VersionTest, NeitherEngineNorCompletionRunsUnderTheLock) {
  bool has_answered = false;
  version = Version::make({1, 1}, limits, [this](auto... batch) {
    ask(*version, {5});
    engine.run(batch...);
  }, clock);
  version->open();
  Caller caller(*version, {1});
  caller.ticket().commit([&](const Outcome&) {
    has_answered = true;
    EXPECT_TRUE(ask(*version, {6}).is_admitted());
    EXPECT_FALSE(caller.ticket().leave());
  });
  version->run_next();
  EXPECT_TRUE(has_answered);
  EXPECT_EQ(version->waiting_rows(), 2U);
}

TEST_F(VersionTest, AVersionLivesAsLongAsATicket) {
  std::weak_ptr<Version> watched = version;
  Caller caller(*version, {1});
  version.reset();
  EXPECT_FALSE(watched.expired());
  { Ticket last = std::move(caller.ticket()); }
  EXPECT_TRUE(watched.expired());
}

TEST_F(VersionTest, AReceiptTellsWaitComputingAndBatch) {
  version = Version::make({1, 1}, limits, [this](auto... batch) {
    engine.run(batch...);
    clock.advance(500ms);
  }, clock);
  version->open();
  const Caller a = ask(*version, {1});
  clock.advance(2s);
  const Caller b = ask(*version, {2, 3});
  clock.advance(1s);
  version->run_next();
  EXPECT_EQ(a.heard().receipt.queued, 3s);
  EXPECT_EQ(b.heard().receipt.queued, 1s);
  EXPECT_EQ(b.heard().receipt.computed, 500ms);
  EXPECT_EQ(a.heard().receipt.batch_rows, 3U);
}

TEST_F(VersionTest, WhoWaitsBehindAWriterThatIsTooLateIsDueWhenThatOneIsDone) {
  int told = 0;
  version->listen([&told](auto...) { ++told; });
  Caller late(*version, {1, 2, 3, 4}, clock.now() + 1s);
  Caller next(*version, {5});
  next.ticket().commit([](const Outcome&) {});
  clock.advance(2s);
  version->sweep();
  EXPECT_EQ(told, 0) << "the batch before is being written";
  late.ticket().commit([](const Outcome&) {});
  EXPECT_EQ(told, 1);
  EXPECT_TRUE(version->run_next());
}

}  // namespace
}  // namespace seqserve::testing
