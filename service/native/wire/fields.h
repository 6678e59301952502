// Walks over the fields of one protobuf message: bounded by the bytes that are there, whatever lengths claim.
//
// Source: the protobuf encoding, https://protobuf.dev/programming-guides/encoding/
#pragma once

#include <cstdint>

#include "wire/bytes.h"

namespace seqserve::wire {

// hot: read, and it means what protobuf would make of it. elsewhere: maybe right, maybe wrong, but not for the
// hot path; whoever has a complete parser decides. malformed: every parser refuses it.
enum class Verdict { hot, elsewhere, malformed };

enum class WireType : std::uint8_t { varint = 0, fixed64 = 1, length = 2, fixed32 = 5 };

// number: for varint, fixed32 and fixed64. content: for length.
struct Field {
  std::uint32_t id = 0;
  WireType type = WireType::varint;
  std::uint64_t number = 0;
  Bytes content;

  bool is(std::uint32_t wanted, WireType with) const { return id == wanted && type == with; }
};

class Fields {
 public:
  explicit Fields(Bytes message) : rest_(message) {}

  bool done() const { return rest_.empty(); }
  // The next field, of a message that is not done. Groups, and encodings that no serializer writes, are for
  // elsewhere.
  Verdict next(Field& field);

 private:
  Verdict fixed(std::size_t size, std::uint64_t& number);

  Bytes rest_;
};

// A varint of at most nine bytes; a tenth is for elsewhere.
Verdict read_varint(Bytes& rest, std::uint64_t& number);

// A string that may be read as it is: ASCII, which needs no check of UTF-8. Others are for elsewhere.
Verdict read_text(const Field& field, std::string_view& text);

}  // namespace seqserve::wire
