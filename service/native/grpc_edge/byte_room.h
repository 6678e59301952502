// How many bytes of messages somebody elsewhere may have at once.
#pragma once

#include <atomic>
#include <cstddef>
#include <optional>
#include <utility>

namespace seqserve::grpc_edge {

// For any thread. Outlives its shares.
class ByteRoom {
 public:
  // A part of the room, taken for as long as it lives.
  class Share {
   public:
    Share(ByteRoom& room, std::size_t bytes) : room_(&room), bytes_(bytes) {}
    Share(Share&& other) noexcept : room_(other.room_), bytes_(std::exchange(other.bytes_, 0)) {}
    Share& operator=(Share&& other) noexcept {
      std::swap(room_, other.room_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    ~Share() { room_->taken_ -= bytes_; }

   private:
    ByteRoom* room_;
    std::size_t bytes_;
  };

  explicit ByteRoom(std::size_t most) : most_(most) {}
  ByteRoom(const ByteRoom&) = delete;
  ByteRoom& operator=(const ByteRoom&) = delete;

  // None where there is not so much left.
  std::optional<Share> take(std::size_t bytes) {
    std::optional<Share> share(std::in_place, *this, bytes);
    if ((taken_ += bytes) > most_) share.reset();
    return share;
  }

 private:
  const std::size_t most_;
  std::atomic<std::size_t> taken_{0};
};

}  // namespace seqserve::grpc_edge
