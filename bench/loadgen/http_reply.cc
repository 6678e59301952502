#include "http_reply.h"

#include <strings.h>

#include <cstdlib>
#include <stdexcept>

namespace {

constexpr char kHeadEnd[] = "\r\n\r\n";
constexpr char kVersion[] = "HTTP/1.1 ";
constexpr char kContentLength[] = "\r\ncontent-length:";

// Where a header's value begins, or npos. name: in lower case, with the line end before it.
size_t ValueOf(const std::string& head, const std::string& name) {
  for (size_t at = head.find('\r'); at != std::string::npos; at = head.find('\r', at + 1)) {
    if (strncasecmp(head.c_str() + at, name.c_str(), name.size()) == 0) return at + name.size();
  }
  return std::string::npos;
}

}  // namespace

void HttpReply::Add(const char* bytes, size_t count) {
  bytes_.append(bytes, count);
  if (status_ != 0) return;
  const size_t end = bytes_.find(kHeadEnd);
  if (end != std::string::npos) ReadHead(end);
}

void HttpReply::ReadHead(size_t end) {
  const std::string head = bytes_.substr(0, end);
  const size_t length = ValueOf(head, kContentLength);
  if (head.compare(0, sizeof(kVersion) - 1, kVersion) != 0 || length == std::string::npos) {
    throw std::runtime_error("no HTTP/1.1 reply with a Content-Length: " + head.substr(0, 200));
  }
  status_ = std::atoi(head.c_str() + sizeof(kVersion) - 1);
  body_size_ = std::strtoull(head.c_str() + length, nullptr, 10);
  head_size_ = end + sizeof(kHeadEnd) - 1;
  if (status_ == 0) throw std::runtime_error("no HTTP status: " + head.substr(0, 200));
}

void HttpReply::Clear() {
  bytes_.clear();
  head_size_ = body_size_ = 0;
  status_ = 0;
}
