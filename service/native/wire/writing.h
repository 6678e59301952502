// Protobuf, written: the same functions drive a sink that measures and one that writes, so they cannot disagree.
//
// All field numbers are below 16, so that each tag is one byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace seqserve::wire {

constexpr std::uint8_t varint_tag(unsigned field) { return static_cast<std::uint8_t>(field << 3); }
constexpr std::uint8_t length_tag(unsigned field) { return static_cast<std::uint8_t>(field << 3 | 2); }

class Measure {
 public:
  void byte(std::uint8_t) { ++size_; }
  void bytes(const void*, std::size_t count) { size_ += count; }
  std::size_t size() const { return size_; }

 private:
  std::size_t size_ = 0;
};

class Writer {
 public:
  explicit Writer(std::uint8_t* to) : to_(to) {}
  void byte(std::uint8_t byte) { *to_++ = byte; }
  void bytes(const void* from, std::size_t count) {
    if (count != 0) std::memcpy(to_, from, count);
    to_ += count;
  }
  std::uint8_t* end() const { return to_; }

 private:
  std::uint8_t* to_;
};

template <typename Sink>
void put_varint(Sink& sink, std::uint64_t number) {
  while (number >= 0x80) {
    sink.byte(static_cast<std::uint8_t>(number | 0x80));
    number >>= 7;
  }
  sink.byte(static_cast<std::uint8_t>(number));
}

// proto3 leaves out what is zero.
template <typename Sink>
void put_number(Sink& sink, std::uint8_t tag, std::int64_t number) {
  if (number == 0) return;
  sink.byte(tag);
  put_varint(sink, static_cast<std::uint64_t>(number));
}

// Nor does it write what is empty.
template <typename Sink>
void put_text(Sink& sink, std::uint8_t tag, std::string_view text) {
  if (text.empty()) return;
  sink.byte(tag);
  put_varint(sink, text.size());
  sink.bytes(text.data(), text.size());
}

// A message or a packed field: measured, then written behind its length.
template <typename Sink, typename Put>
void put_nested(Sink& sink, std::uint8_t tag, const Put& put) {
  Measure measure;
  put(measure);
  sink.byte(tag);
  put_varint(sink, measure.size());
  put(sink);
}

}  // namespace seqserve::wire
