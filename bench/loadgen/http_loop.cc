#include "http_loop.h"

#include <arpa/inet.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <stdexcept>

namespace {

constexpr int kMostEvents = 256;
constexpr int kLookMilliseconds = 100;
constexpr double kPatienceSeconds = 3;  // with what is still out when the run is over

std::string BytesOf(const HttpRequest& request) {
  return "POST " + request.path + " HTTP/1.1\r\nHost: " + request.target +
         "\r\nContent-Type: " + request.content_type +
         "\r\nContent-Length: " + std::to_string(request.body.size()) + "\r\n\r\n" + request.body;
}

sockaddr_in AddressOf(const std::string& target) {
  const size_t colon = target.rfind(':');
  sockaddr_in address{};
  address.sin_family = AF_INET;
  if (colon == std::string::npos || inet_pton(AF_INET, target.substr(0, colon).c_str(), &address.sin_addr) != 1) {
    throw std::runtime_error("--target of HTTP is A.B.C.D:PORT, not " + target);
  }
  address.sin_port = htons(static_cast<uint16_t>(std::stoi(target.substr(colon + 1))));
  return address;
}

}  // namespace

HttpLoop::HttpLoop(const HttpRequest& request, int callers)
    : epoll_(epoll_create1(EPOLL_CLOEXEC)),
      bytes_(BytesOf(request)),
      address_(AddressOf(request.target)),
      calls_(static_cast<size_t>(callers)) {
  for (size_t at = 0; at < calls_.size(); ++at) Connect(at);
}

HttpLoop::~HttpLoop() { close(epoll_); }

void HttpLoop::Run(Tally* tally) {
  for (auto& call : calls_) call->Start();
  std::array<epoll_event, kMostEvents> events;
  const auto end = tally->end() + Seconds(kPatienceSeconds);
  size_t asking = calls_.size();
  while (asking > 0 && Clock::now() < end) {
    const int count = epoll_wait(epoll_, events.data(), kMostEvents, kLookMilliseconds);
    for (int i = 0; i < count; ++i) {
      const auto at = static_cast<size_t>(events[static_cast<size_t>(i)].data.u64);
      if (calls_[at] == nullptr || !calls_[at]->Continue(tally)) continue;
      if (tally->Over()) {
        calls_[at].reset();
        --asking;
      } else {
        AskAgain(at);
      }
    }
  }
  tally->SetUnanswered(asking);
}

void HttpLoop::Connect(size_t at) {
  calls_[at] = std::make_unique<HttpCall>(address_, bytes_);
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLET;
  event.data.u64 = at;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, calls_[at]->descriptor(), &event);
}

void HttpLoop::AskAgain(size_t at) {
  if (calls_[at]->broken()) Connect(at);
  calls_[at]->Start();
}
