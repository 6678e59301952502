// One HTTP/1.1 reply, as its bytes arrive.
#pragma once

#include <cstddef>
#include <string>

class HttpReply {
 public:
  // More bytes of it. Raises std::runtime_error for what is no reply with a Content-Length.
  void Add(const char* bytes, size_t count);

  bool complete() const { return status_ != 0 && bytes_.size() >= head_size_ + body_size_; }
  bool empty() const { return bytes_.empty(); }
  int status() const { return status_; }
  std::string body() const { return bytes_.substr(head_size_, body_size_); }

  // For the next one on the same connection.
  void Clear();

 private:
  void ReadHead(size_t end);

  std::string bytes_;
  size_t head_size_ = 0;
  size_t body_size_ = 0;
  int status_ = 0;  // 0: the head has not ended
};
