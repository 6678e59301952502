// Whole replies are read from any pieces; what has no length is refused.
#include "http_reply.h"

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace {

const std::string kReply = "HTTP/1.1 503 Busy\r\nDate: now\r\nContent-LENGTH:  5\r\n\r\nhello";

void Require(bool right, const char* what) {
  if (right) return;
  std::fprintf(stderr, "%s\n", what);
  std::exit(1);
}

void ReadsAnyPieces() {
  for (size_t piece = 1; piece <= kReply.size(); ++piece) {
    HttpReply reply;
    for (size_t at = 0; at < kReply.size(); at += piece) {
      Require(!reply.complete(), "complete before its last byte");
      const auto part = kReply.substr(at, piece);
      reply.Add(part.data(), part.size());
    }
    Require(reply.complete() && reply.status() == 503 && reply.body() == "hello", "not what was sent");
  }
}

void TakesTheNextAfterOne() {
  HttpReply reply;
  reply.Add(kReply.data(), kReply.size());
  reply.Clear();
  Require(reply.empty() && !reply.complete(), "something is left of the reply before");
  const std::string next = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
  reply.Add(next.data(), next.size());
  Require(reply.complete() && reply.status() == 200 && reply.body().empty(), "not the next one");
}

void Refuses(const std::string& bytes) {
  HttpReply reply;
  try {
    reply.Add(bytes.data(), bytes.size());
  } catch (const std::runtime_error&) {
    return;
  }
  Require(false, ("taken: " + bytes).c_str());
}

}  // namespace

int main() {
  ReadsAnyPieces();
  TakesTheNextAfterOne();
  Refuses("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  Refuses("HTTP/1.1 200 OK\r\nX-Content-Length: 5\r\n\r\n");
  Refuses("SSH-2.0\r\nContent-Length: 5\r\n\r\n");
  return 0;
}
