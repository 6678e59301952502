// A file descriptor that is closed once nobody has it any more.
#pragma once

#include <unistd.h>

#include <utility>

namespace seqserve::grpc_edge {

class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }

  bool is_open() const { return number_ >= 0; }
  int number() const { return number_; }
  // It is somebody else's from now on.
  int release() { return std::exchange(number_, -1); }

 private:
  int number_;
};

}  // namespace seqserve::grpc_edge
