// A version whose engine and clock are in the test's hands.
#pragma once

#include <gtest/gtest.h>

#include "fakes.h"

namespace seqserve::testing {

class VersionTest : public ::testing::Test {
 protected:
  VersionTest() { start(); }

  void start() {
    version = Version::make({1, 1}, limits, [this](auto... batch) { engine.run(batch...); }, clock);
    version->open();
  }

  std::uint64_t dropped(Drop cause) const { return version->ledger().read().dropped[static_cast<std::size_t>(cause)]; }

  static Limits small() {
    Limits small;
    small.max_batch_rows = 4;
    small.max_queue_rows = 10;
    small.max_request_rows = 10;
    return small;
  }

  FakeClock clock;
  FakeEngine engine;
  Limits limits = small();
  VersionPtr version;
};

}  // namespace seqserve::testing
