#include "wire/fields.h"

#include <algorithm>

namespace seqserve::wire {

namespace {

constexpr int kMostVarintBytes = 9;
// protobuf's parsers take no more; a length beyond it never comes from a serializer.
constexpr std::uint64_t kMostLength = (std::uint64_t{1} << 31) - 17;
constexpr std::uint64_t kMostTag = (std::uint64_t{1} << 14) - 1;  // two bytes: all fields of the contract

}  // namespace

Verdict read_varint(Bytes& rest, std::uint64_t& number) {
  number = 0;
  for (int index = 0; index < kMostVarintBytes; ++index) {
    if (rest.empty()) return Verdict::malformed;
    const std::uint8_t byte = *rest.begin++;
    number |= static_cast<std::uint64_t>(byte & 0x7f) << (7 * index);
    if (byte < 0x80) return Verdict::hot;
  }
  return Verdict::elsewhere;
}

Verdict Fields::next(Field& field) {
  std::uint64_t tag = 0;
  if (const Verdict verdict = read_varint(rest_, tag); verdict != Verdict::hot) return verdict;
  if (tag > kMostTag) return Verdict::elsewhere;
  field.id = static_cast<std::uint32_t>(tag >> 3);
  if (field.id == 0) return Verdict::malformed;
  switch (tag & 7) {
    case 0: field.type = WireType::varint; return read_varint(rest_, field.number);
    case 1: field.type = WireType::fixed64; return fixed(8, field.number);
    case 5: field.type = WireType::fixed32; return fixed(4, field.number);
    case 2: break;
    default: return Verdict::elsewhere;
  }
  field.type = WireType::length;
  std::uint64_t length = 0;
  if (const Verdict verdict = read_varint(rest_, length); verdict != Verdict::hot) return verdict;
  if (length > kMostLength) return Verdict::elsewhere;
  if (length > rest_.size()) return Verdict::malformed;
  field.content = {rest_.begin, rest_.begin + length};
  rest_.begin += length;
  return Verdict::hot;
}

Verdict Fields::fixed(std::size_t size, std::uint64_t& number) {
  if (rest_.size() < size) return Verdict::malformed;
  number = 0;
  for (std::size_t index = 0; index < size; ++index) number |= std::uint64_t{*rest_.begin++} << (8 * index);
  return Verdict::hot;
}

Verdict read_text(const Field& field, std::string_view& text) {
  text = field.content.text();
  const bool is_ascii =
      std::all_of(field.content.begin, field.content.end, [](std::uint8_t byte) { return byte < 0x80; });
  return is_ascii ? Verdict::hot : Verdict::elsewhere;
}

}  // namespace seqserve::wire
