// The buffers by themselves: what is given out, moved and given back.
#include "core/staging.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <set>

namespace seqserve {
namespace {

class StagingTest : public ::testing::Test {
 protected:
  static Limits limits() {
    Limits limits;
    limits.max_batch_rows = 4;
    limits.max_queue_rows = 8;
    limits.max_request_rows = 8;
    return limits;
  }

  RequestPtr place(std::initializer_list<float> rows) {
    auto request = std::make_shared<Request>(rows.size(), kNever, Time{0});
    if (!staging.place(request)) return nullptr;
    const float* from = rows.begin();
    for (const Piece& piece : request->pieces) {
      for (std::size_t row = 0; row < piece.rows; ++row) *piece.buffer->input(piece.offset + row) = *from++;
    }
    staging.settle(*request, true);
    return request;
  }

  static std::vector<float> rows_of(const Buffer& buffer) {
    return std::vector<float>(buffer.input(0), buffer.input(buffer.used_rows));
  }

  Staging staging{{1, 1}, limits(), host_memory};
};

TEST_F(StagingTest, ARequestGetsAllOfItsRoomOrNone) {
  std::vector<RequestPtr> held;
  while (RequestPtr request = place({1, 2, 3})) held.push_back(request);
  EXPECT_EQ(held.size(), staging.max_buffers());
  EXPECT_EQ(place({1, 2, 3, 4, 5}), nullptr) << "one row would have room";
  EXPECT_EQ(staging.waiting_rows(), 3 * held.size());
  EXPECT_NE(place({9}), nullptr);
}

TEST_F(StagingTest, MemoryThatIsNotThereIsNoRoom) {
  std::size_t made = 0;
  Staging scarce({1, 1}, limits(), [&made](std::size_t count) {
    if (++made > kLeastBuffers) throw std::bad_alloc();
    return host_memory(count);
  });
  for (std::size_t index = 0; index < kLeastBuffers; ++index) {
    EXPECT_TRUE(scarce.place(std::make_shared<Request>(4, kNever, Time{0})));
  }
  EXPECT_FALSE(scarce.place(std::make_shared<Request>(4, kNever, Time{0})));
}

TEST_F(StagingTest, TheFirstBuffersAreTakenBeforeThoseThatCameLater) {
  std::vector<RequestPtr> held;
  std::set<const Buffer*> first;
  for (std::size_t index = 0; index < kLeastBuffers + 2; ++index) {
    held.push_back(place({1, 2, 3, 4}));
    if (index < kLeastBuffers) first.insert(held.back()->pieces[0].buffer);
  }
  for (const RequestPtr& request : held) staging.withdraw(*request);
  for (std::size_t index = 0; index < kLeastBuffers; ++index) {
    EXPECT_EQ(first.count(place({1, 2, 3, 4})->pieces[0].buffer), 1U);
  }
  EXPECT_EQ(first.count(place({1, 2, 3, 4})->pieces[0].buffer), 0U);
}

TEST_F(StagingTest, RowsThatAreBeingMovedAreNotGivenOut) {
  place({1, 1, 1});
  const RequestPtr moved = place({2, 2});
  const RequestPtr leaver = place({3});
  Buffer& source = *moved->pieces[0].buffer;
  Buffer& batch = staging.seal(Time{0});
  batch.used_rows = 2;  // as if a row had gone
  std::vector<Move> moves{staging.transfer(batch)};
  staging.withdraw(*leaver);
  EXPECT_EQ(source.used_rows, 2U) << "still read";
  const RequestPtr next = place({4});
  staging.move_rows(batch, moves);
  EXPECT_EQ(rows_of(batch), (std::vector<float>{1, 1, 2, 2}));
  staging.end_moves(batch, moves);
  EXPECT_EQ(*source.input(next->pieces[0].offset), 4.0F);
}

TEST_F(StagingTest, ABufferIsUsedAnewOnlyWhenNobodyHoldsIt) {
  const RequestPtr a = place({1});
  const RequestPtr b = place({2});
  Buffer& batch = staging.seal(Time{0});
  batch.phase = Phase::computed;
  staging.release(*a);
  EXPECT_EQ(staging.buffers_in_use(), 1U);
  staging.release(*a);
  EXPECT_EQ(staging.buffers_in_use(), 1U) << "once each";
  staging.release(*b);
  EXPECT_EQ(staging.buffers_in_use(), 0U);
}

}  // namespace
}  // namespace seqserve
