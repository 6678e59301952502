// Limits that cannot hold are refused when a version is made, not when the memory is gone.
#include "core/limits.h"

#include <gtest/gtest.h>

#include <limits>
#include <stdexcept>
#include <string>

namespace seqserve {
namespace {

Limits limits_of(std::size_t batch, std::size_t queue, std::size_t request) {
  Limits limits;
  limits.max_batch_rows = batch;
  limits.max_queue_rows = queue;
  limits.max_request_rows = request;
  return limits;
}

template <typename Make>
void expect_fault(const std::string& field, std::size_t came, std::size_t accepted, const Make& make) {
  try {
    make();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const LimitFault& fault) {
    EXPECT_EQ(fault.field, field);
    EXPECT_EQ(fault.came, came);
    EXPECT_EQ(fault.accepted, accepted);
  }
}

TEST(Limits, AVersionHasAtLeastThreeBuffers) {
  EXPECT_GE(count_buffers({784, 10}, limits_of(64, 1, 1)), kLeastBuffers);
}

TEST(Limits, TheWholeQueueFitsEvenWhereHalfOfEachBufferIsLost) {
  EXPECT_GE(count_buffers({784, 10}, limits_of(4, 100, 10)), 2 * 100 / 4);
}

TEST(Limits, ABufferOf256MebibytesIsTheLargest) {
  const std::size_t floats = kMaxBufferBytes / sizeof(float);
  EXPECT_EQ(buffer_bytes({floats - 1, 1}, limits_of(1, 1, 1)), kMaxBufferBytes);
  expect_fault("max_batch_rows", 1, 0, [=] { buffer_bytes({floats, 1}, limits_of(1, 1, 1)); });
  expect_fault("max_batch_rows", floats, floats / 794, [=] { buffer_bytes({784, 10}, limits_of(floats, 1, 1)); });
  EXPECT_NO_THROW(buffer_bytes({784, 10}, limits_of(floats / 794, 1, 1)));
}

TEST(Limits, ASizeThatOverflowsIsRefused) {
  const std::size_t huge = std::numeric_limits<std::size_t>::max();
  expect_fault("max_batch_rows", 2, 0, [=] { buffer_bytes({huge, huge}, limits_of(2, 1, 1)); });
  expect_fault("max_batch_rows", huge, kMaxBufferBytes / 8, [=] { buffer_bytes({1, 1}, limits_of(huge, 1, 1)); });
}

TEST(Limits, MemoryBoundsTheBuffers) {
  Limits limits = limits_of(1024, 1024 * 1024, 1024);
  limits.max_staging_bytes = std::size_t{64} << 20;
  EXPECT_LE(count_buffers({784, 10}, limits) * buffer_bytes({784, 10}, limits), limits.max_staging_bytes);
}

TEST(Limits, ARequestThatCouldNeverBeAdmittedIsFoundAtOnce) {
  Limits limits = limits_of(1, 4096, 1024);
  limits.max_staging_bytes = 1;
  expect_fault("max_request_rows", 1024, kLeastBuffers, [=] { count_buffers({784, 10}, limits); });
  limits.max_request_rows = kLeastBuffers;
  EXPECT_EQ(count_buffers({784, 10}, limits), kLeastBuffers);
}

TEST(Limits, NothingThatNobodyCouldPass) {
  EXPECT_THROW(count_buffers({1, 1}, limits_of(0, 1, 1)), std::invalid_argument);
  EXPECT_THROW(count_buffers({1, 1}, limits_of(1, 0, 1)), std::invalid_argument);
  EXPECT_THROW(count_buffers({0, 1}, limits_of(1, 1, 1)), std::invalid_argument);
}

}  // namespace
}  // namespace seqserve
