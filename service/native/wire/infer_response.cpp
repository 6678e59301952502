#include "wire/infer_response.h"

#include <cstring>

namespace seqserve::wire {

namespace {

// Tags of proto/inference.proto: all field numbers are below 16, so each is one byte.
constexpr std::uint8_t varint_tag(unsigned field) { return static_cast<std::uint8_t>(field << 3); }
constexpr std::uint8_t length_tag(unsigned field) { return static_cast<std::uint8_t>(field << 3 | 2); }

constexpr std::uint8_t kModelName = length_tag(1);
constexpr std::uint8_t kModelVersion = length_tag(2);
constexpr std::uint8_t kId = length_tag(3);
constexpr std::uint8_t kParameters = length_tag(4);
constexpr std::uint8_t kOutputs = length_tag(5);
constexpr std::uint8_t kRawOutputContents = length_tag(6);
constexpr std::uint8_t kOutputName = length_tag(1);
constexpr std::uint8_t kDatatype = length_tag(2);
constexpr std::uint8_t kShape = length_tag(3);
constexpr std::uint8_t kContents = length_tag(5);
constexpr std::uint8_t kFp32Contents = length_tag(6);
constexpr std::uint8_t kMapKey = length_tag(1);
constexpr std::uint8_t kMapValue = length_tag(2);
constexpr std::uint8_t kInt64Param = varint_tag(2);
constexpr std::uint8_t kStringParam = length_tag(3);
constexpr std::string_view kFp32 = "FP32";

// Measures what Writer writes; both are driven by the same functions below, so they cannot disagree.
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

// proto3 leaves out what is empty.
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

template <typename Sink>
void put_value(Sink& sink, const ReplyParameter& parameter) {
  if (const auto* number = std::get_if<std::int64_t>(&parameter.value)) {
    sink.byte(kInt64Param);
    put_varint(sink, static_cast<std::uint64_t>(*number));
    return;
  }
  // One of several: there even where it is empty.
  const auto text = std::get<std::string_view>(parameter.value);
  sink.byte(kStringParam);
  put_varint(sink, text.size());
  sink.bytes(text.data(), text.size());
}

template <typename Sink>
void put_parameter(Sink& sink, const ReplyParameter& parameter) {
  put_text(sink, kMapKey, parameter.name);
  put_nested(sink, kMapValue, [&](auto& value) { put_value(value, parameter); });
}

template <typename Sink>
void put_content(Sink& sink, std::uint8_t tag, const InferResponse& response) {
  std::size_t size = 0;
  for (const Bytes& part : response.content) size += part.size();
  sink.byte(tag);
  put_varint(sink, size);
  for (const Bytes& part : response.content) sink.bytes(part.begin, part.size());
}

template <typename Sink>
void put_output(Sink& sink, const InferResponse& response) {
  put_text(sink, kOutputName, response.output_name);
  put_text(sink, kDatatype, kFp32);
  put_nested(sink, kShape, [&](auto& shape) {
    for (const std::int64_t dimension : response.shape) put_varint(shape, static_cast<std::uint64_t>(dimension));
  });
  if (!response.is_raw) {
    put_nested(sink, kContents, [&](auto& contents) { put_content(contents, kFp32Contents, response); });
  }
}

template <typename Sink>
void put_response(Sink& sink, const InferResponse& response) {
  put_text(sink, kModelName, response.model_name);
  put_text(sink, kModelVersion, response.model_version);
  put_text(sink, kId, response.id);
  for (const ReplyParameter& parameter : response.parameters) {
    put_nested(sink, kParameters, [&](auto& entry) { put_parameter(entry, parameter); });
  }
  put_nested(sink, kOutputs, [&](auto& output) { put_output(output, response); });
  if (response.is_raw) put_content(sink, kRawOutputContents, response);
}

}  // namespace

std::size_t size(const InferResponse& response) {
  Measure measure;
  put_response(measure, response);
  return measure.size();
}

std::uint8_t* write(const InferResponse& response, std::uint8_t* to) {
  Writer writer(to);
  put_response(writer, response);
  return writer.end();
}

}  // namespace seqserve::wire
