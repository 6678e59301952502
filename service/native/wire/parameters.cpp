#include "wire/parameters.h"

namespace seqserve::wire {

namespace {

constexpr std::string_view kTimeout = "timeout";
constexpr std::string_view kClassification = "classification";
constexpr std::string_view kRefused[] = {"sequence_", "shared_memory_"};

struct Value {
  bool is_integer = false;
  std::uint64_t integer = 0;
};

// InferParameter: one of bool, int64, string, double, uint64.
Verdict read_value(Bytes message, Value& value) {
  Fields fields(message);
  bool has_value = false;
  while (!fields.done()) {
    Field field;
    if (const Verdict verdict = fields.next(field); verdict != Verdict::hot) return verdict;
    if (has_value) return Verdict::elsewhere;
    has_value = true;
    const bool is_number = field.is(1, WireType::varint) || field.is(2, WireType::varint) ||
                           field.is(4, WireType::fixed64) || field.is(5, WireType::varint);
    if (field.is(3, WireType::length)) {
      std::string_view text;
      if (const Verdict verdict = read_text(field, text); verdict != Verdict::hot) return verdict;
    } else if (!is_number) {
      return Verdict::elsewhere;
    }
    value = {field.is(2, WireType::varint), field.number};
  }
  return Verdict::hot;
}

bool changes_meaning(std::string_view name) {
  for (const std::string_view prefix : kRefused) {
    if (name.substr(0, prefix.size()) == prefix) return true;
  }
  return name == kClassification;
}

}  // namespace

Verdict read_parameter(Bytes entry, std::int64_t* timeout_microseconds) {
  Fields fields(entry);
  std::string_view name;
  Value value;
  bool has_name = false;
  bool has_value = false;
  while (!fields.done()) {
    Field field;
    Verdict verdict = fields.next(field);
    if (verdict != Verdict::hot) return verdict;
    if (field.is(1, WireType::length) && !has_name) {
      has_name = true;
      verdict = read_text(field, name);
    } else if (field.is(2, WireType::length) && !has_value) {
      has_value = true;
      verdict = read_value(field.content, value);
    } else {
      return Verdict::elsewhere;
    }
    if (verdict != Verdict::hot) return verdict;
  }
  if (changes_meaning(name)) return Verdict::elsewhere;
  if (name != kTimeout || timeout_microseconds == nullptr) return Verdict::hot;
  // A second one, or one of no time, is for whoever has words for it.
  const bool is_time = value.is_integer && value.integer > 0 && value.integer <= INT64_MAX;
  if (!is_time || *timeout_microseconds != 0) return Verdict::elsewhere;
  *timeout_microseconds = static_cast<std::int64_t>(value.integer);
  return Verdict::hot;
}

}  // namespace seqserve::wire
