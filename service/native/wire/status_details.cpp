#include "wire/status_details.h"

#include "wire/writing.h"

namespace seqserve::wire {

namespace {

// google.rpc.Status and google.protobuf.Any.
constexpr std::uint8_t kCode = varint_tag(1);
constexpr std::uint8_t kMessage = length_tag(2);
constexpr std::uint8_t kDetails = length_tag(3);
constexpr std::uint8_t kTypeUrl = length_tag(1);
constexpr std::uint8_t kValue = length_tag(2);
// ErrorInfo and RetryInfo.
constexpr std::uint8_t kReason = length_tag(1);
constexpr std::uint8_t kDomain = length_tag(2);
constexpr std::uint8_t kMetadata = length_tag(3);
constexpr std::uint8_t kMapKey = length_tag(1);
constexpr std::uint8_t kMapValue = length_tag(2);
constexpr std::uint8_t kRetryDelay = length_tag(1);
constexpr std::uint8_t kSeconds = varint_tag(1);
constexpr std::uint8_t kNanos = varint_tag(2);

constexpr std::string_view kErrorInfo = "type.googleapis.com/google.rpc.ErrorInfo";
constexpr std::string_view kRetryInfo = "type.googleapis.com/google.rpc.RetryInfo";
constexpr std::string_view kOurDomain = "seqserve";
constexpr std::string_view kRequestId = "request_id";
constexpr std::int64_t kSecond = 1'000'000'000;

template <typename Sink>
void put_error_info(Sink& sink, const StatusDetails& details) {
  put_text(sink, kReason, details.reason);
  put_text(sink, kDomain, kOurDomain);
  put_nested(sink, kMetadata, [&](auto& entry) {
    put_text(entry, kMapKey, kRequestId);
    put_text(entry, kMapValue, details.request_id);
  });
}

template <typename Sink>
void put_retry_info(Sink& sink, std::int64_t nanoseconds) {
  put_nested(sink, kRetryDelay, [&](auto& duration) {
    put_number(duration, kSeconds, nanoseconds / kSecond);
    put_number(duration, kNanos, nanoseconds % kSecond);
  });
}

template <typename Sink, typename Put>
void put_any(Sink& sink, std::string_view type, const Put& put) {
  put_nested(sink, kDetails, [&](auto& any) {
    put_text(any, kTypeUrl, type);
    put_nested(any, kValue, put);
  });
}

template <typename Sink>
void put_status(Sink& sink, const StatusDetails& details) {
  put_number(sink, kCode, details.code);
  put_text(sink, kMessage, details.words);
  put_any(sink, kErrorInfo, [&](auto& info) { put_error_info(info, details); });
  if (!details.retry_after_ns) return;
  put_any(sink, kRetryInfo, [&](auto& info) { put_retry_info(info, *details.retry_after_ns); });
}

}  // namespace

std::string serialize(const StatusDetails& details) {
  Measure measure;
  put_status(measure, details);
  std::string bytes(measure.size(), '\0');
  Writer writer(reinterpret_cast<std::uint8_t*>(bytes.data()));
  put_status(writer, details);
  return bytes;
}

}  // namespace seqserve::wire
