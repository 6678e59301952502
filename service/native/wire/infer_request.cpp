#include "wire/infer_request.h"

#include "wire/parameters.h"

namespace seqserve::wire {

namespace {

// Field numbers of proto/inference.proto.
namespace request_field {
enum : std::uint32_t { model_name = 1, model_version, id, parameters, inputs, outputs, raw_input_contents };
}
namespace input_field {
enum : std::uint32_t { name = 1, datatype, shape, parameters, contents };
}
namespace output_field {
enum : std::uint32_t { name = 1, parameters };
}
constexpr std::uint32_t kFp32Contents = 6;
// Of the request, its input and its output together. Who sends more is told what may be sent, by the complete parser.
constexpr std::size_t kMostParameters = 32;

// Reads one message. A field that comes twice is legal and rare: the complete parser knows what it means.
class Parser {
 public:
  explicit Parser(InferRequest& request) : request_(request) {}

  Verdict read_request(Bytes message);

 private:
  Verdict read_request_field(const Field& field);
  Verdict read_input(Bytes message);
  Verdict read_input_field(const Field& field);
  Verdict read_output(Bytes message);
  Verdict read_shape(const Field& field);
  Verdict read_contents(Bytes message);
  Verdict read_parameter(Bytes entry, std::int64_t* timeout_microseconds);
  static Verdict read_once(const Field& field, std::string_view& text);
  Verdict put_content(Bytes content);

  InferRequest& request_;
  std::size_t parameters_ = 0;
  bool has_input_ = false;
  bool has_contents_ = false;
  bool has_content_ = false;
};

Verdict Parser::read_request(Bytes message) {
  Fields fields(message);
  while (!fields.done()) {
    Field field;
    Verdict verdict = fields.next(field);
    if (verdict == Verdict::hot) verdict = read_request_field(field);
    if (verdict != Verdict::hot) return verdict;
  }
  // Neither content nor both kinds of it is anything that could be answered.
  const bool has_both = request_.is_raw && has_contents_;
  return has_input_ && has_content_ && !has_both ? Verdict::hot : Verdict::elsewhere;
}

Verdict Parser::read_request_field(const Field& field) {
  if (field.type != WireType::length) return Verdict::elsewhere;
  switch (field.id) {
    case request_field::model_name: return read_once(field, request_.model_name);
    case request_field::model_version: return read_once(field, request_.model_version);
    case request_field::id: return read_once(field, request_.id);
    case request_field::parameters: return read_parameter(field.content, &request_.timeout_microseconds);
    case request_field::inputs: return read_input(field.content);
    case request_field::outputs: return read_output(field.content);
    case request_field::raw_input_contents:
      request_.is_raw = true;
      return put_content(field.content);
    default: return Verdict::elsewhere;
  }
}

Verdict Parser::read_input(Bytes message) {
  if (has_input_) return Verdict::elsewhere;
  has_input_ = true;
  Fields fields(message);
  while (!fields.done()) {
    Field field;
    Verdict verdict = fields.next(field);
    if (verdict == Verdict::hot) verdict = read_input_field(field);
    if (verdict != Verdict::hot) return verdict;
  }
  return Verdict::hot;
}

Verdict Parser::read_input_field(const Field& field) {
  if (field.id == input_field::shape) return read_shape(field);
  if (field.type != WireType::length) return Verdict::elsewhere;
  switch (field.id) {
    case input_field::name: return read_once(field, request_.input_name);
    case input_field::datatype: return read_once(field, request_.datatype);
    case input_field::parameters: return read_parameter(field.content, nullptr);
    case input_field::contents: return read_contents(field.content);
    default: return Verdict::elsewhere;
  }
}

Verdict Parser::read_output(Bytes message) {
  if (request_.has_output) return Verdict::elsewhere;
  request_.has_output = true;
  Fields fields(message);
  while (!fields.done()) {
    Field field;
    Verdict verdict = fields.next(field);
    if (verdict != Verdict::hot) return verdict;
    if (field.is(output_field::name, WireType::length)) {
      verdict = read_once(field, request_.output_name);
    } else if (field.is(output_field::parameters, WireType::length)) {
      verdict = read_parameter(field.content, nullptr);
    } else {
      verdict = Verdict::elsewhere;
    }
    if (verdict != Verdict::hot) return verdict;
  }
  return Verdict::hot;
}

// Packed, in one piece or several, or not packed: protobuf takes them all.
Verdict Parser::read_shape(const Field& field) {
  Shape& shape = request_.shape;
  if (field.type == WireType::varint) {
    if (shape.rank == kMostDimensions) return Verdict::elsewhere;
    shape.sizes[shape.rank++] = static_cast<std::int64_t>(field.number);
    return Verdict::hot;
  }
  if (field.type != WireType::length) return Verdict::elsewhere;
  Bytes rest = field.content;
  while (!rest.empty()) {
    std::uint64_t size = 0;
    if (const Verdict verdict = read_varint(rest, size); verdict != Verdict::hot) return verdict;
    if (shape.rank == kMostDimensions) return Verdict::elsewhere;
    shape.sizes[shape.rank++] = static_cast<std::int64_t>(size);
  }
  return Verdict::hot;
}

Verdict Parser::read_contents(Bytes message) {
  if (has_contents_) return Verdict::elsewhere;
  has_contents_ = true;
  Fields fields(message);
  while (!fields.done()) {
    Field field;
    Verdict verdict = fields.next(field);
    if (verdict != Verdict::hot) return verdict;
    if (!field.is(kFp32Contents, WireType::length)) return Verdict::elsewhere;
    if (field.content.size() % sizeof(float) != 0) return Verdict::malformed;
    verdict = put_content(field.content);
    if (verdict != Verdict::hot) return verdict;
  }
  return Verdict::hot;
}

Verdict Parser::put_content(Bytes content) {
  if (has_content_) return Verdict::elsewhere;
  has_content_ = true;
  request_.content = content;
  return Verdict::hot;
}

Verdict Parser::read_parameter(Bytes entry, std::int64_t* timeout_microseconds) {
  if (++parameters_ > kMostParameters) return Verdict::elsewhere;
  return wire::read_parameter(entry, timeout_microseconds);
}

Verdict Parser::read_once(const Field& field, std::string_view& text) {
  if (!text.empty()) return Verdict::elsewhere;
  return read_text(field, text);
}

}  // namespace

Verdict parse(Bytes message, InferRequest& request) {
  request = InferRequest{};
  return Parser(request).read_request(message);
}

}  // namespace seqserve::wire
