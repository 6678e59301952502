#include "wire/infer_response.h"

#include "wire/writing.h"

namespace seqserve::wire {

namespace {

// Tags of proto/inference.proto.
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
constexpr std::uint8_t kBoolParam = varint_tag(1);
constexpr std::uint8_t kInt64Param = varint_tag(2);
constexpr std::uint8_t kStringParam = length_tag(3);
// Of ModelStreamInferResponse.
constexpr std::uint8_t kErrorMessage = length_tag(1);
constexpr std::uint8_t kInferResponse = length_tag(2);
constexpr std::string_view kFp32 = "FP32";

template <typename Sink>
void put_value(Sink& sink, const ReplyParameter& parameter) {
  // One of several: there even where it is false, 0 or empty.
  if (const auto* is_true = std::get_if<bool>(&parameter.value)) {
    sink.byte(kBoolParam);
    sink.byte(*is_true ? 1 : 0);
    return;
  }
  if (const auto* number = std::get_if<std::int64_t>(&parameter.value)) {
    sink.byte(kInt64Param);
    put_varint(sink, static_cast<std::uint64_t>(*number));
    return;
  }
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

template <typename Sink>
void put_stream_response(Sink& sink, const InferResponse& response) {
  put_nested(sink, kInferResponse, [&](auto& nested) { put_response(nested, response); });
}

template <typename Sink>
void put_stream_error(Sink& sink, std::string_view words, std::string_view id) {
  put_text(sink, kErrorMessage, words);
  put_nested(sink, kInferResponse, [&](auto& nested) { put_text(nested, kId, id); });
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

std::size_t stream_size(const InferResponse& response) {
  Measure measure;
  put_stream_response(measure, response);
  return measure.size();
}

std::uint8_t* write_streamed(const InferResponse& response, std::uint8_t* to) {
  Writer writer(to);
  put_stream_response(writer, response);
  return writer.end();
}

std::string stream_error(std::string_view words, std::string_view id) {
  Measure measure;
  put_stream_error(measure, words, id);
  std::string bytes(measure.size(), '\0');
  Writer writer(reinterpret_cast<std::uint8_t*>(bytes.data()));
  put_stream_error(writer, words, id);
  return bytes;
}

}  // namespace seqserve::wire
