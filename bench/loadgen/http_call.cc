#include "http_call.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <stdexcept>

namespace {

constexpr int kGood = 200;
constexpr size_t kPiece = 65536;

int ConnectedTo(const sockaddr_in& server) {
  const int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const auto* address = reinterpret_cast<const sockaddr*>(&server);
  if (descriptor < 0 || connect(descriptor, address, sizeof(server)) != 0) {
    if (descriptor >= 0) close(descriptor);
    throw std::runtime_error("no connection to port " + std::to_string(ntohs(server.sin_port)));
  }
  const int on = 1;
  setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  fcntl(descriptor, F_SETFL, O_NONBLOCK);
  return descriptor;
}

bool WouldBlock() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

}  // namespace

HttpCall::HttpCall(const sockaddr_in& server, const std::string& request)
    : request_(request), descriptor_(ConnectedTo(server)) {}

HttpCall::~HttpCall() { close(descriptor_); }

void HttpCall::Start() {
  since_ = Clock::now();
  sent_ = 0;
  reply_.Clear();
  Send();
}

bool HttpCall::Continue(Tally* tally) {
  if (!broken_ && sent_ < request_.size()) Send();
  return broken_ ? HungUp(tally) : Receive(tally);
}

void HttpCall::Send() {
  while (sent_ < request_.size()) {
    const auto count = send(descriptor_, request_.data() + sent_, request_.size() - sent_, MSG_NOSIGNAL);
    if (count < 0) {
      broken_ = !WouldBlock();
      return;
    }
    sent_ += static_cast<size_t>(count);
  }
}

bool HttpCall::Receive(Tally* tally) {
  static thread_local std::array<char, kPiece> piece;
  for (;;) {
    const auto count = recv(descriptor_, piece.data(), piece.size(), 0);
    if (count < 0 && WouldBlock()) return false;
    if (count <= 0) return HungUp(tally);
    reply_.Add(piece.data(), static_cast<size_t>(count));
    if (reply_.complete()) {
      Record(tally);
      return true;
    }
    // What is left is told of by the next event.
    if (static_cast<size_t>(count) < piece.size()) return false;
  }
}

bool HttpCall::HungUp(Tally* tally) {
  broken_ = true;
  tally->Add(grpc::StatusCode::UNAVAILABLE, "the server closed a connection", since_, nullptr);
  return true;
}

void HttpCall::Record(Tally* tally) {
  const auto body = reply_.body();
  if (reply_.status() != kGood) {
    tally->Add(reply_.status(), body.substr(0, 200), since_, nullptr);
    return;
  }
  const grpc::Slice slice(body);
  grpc::ByteBuffer kept(&slice, 1);
  tally->Add(Tally::kOk, "", since_, &kept);
}
