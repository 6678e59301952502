#include "grpc_edge/acceptor.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <stdexcept>
#include <utility>

namespace seqserve::grpc_edge {

namespace {

// The system is short of descriptors or memory: those who wait go on waiting, and it is not asked all the time.
constexpr auto kPause = std::chrono::milliseconds(50);
// A queue of connections leaves those that have ended their turn.
constexpr int kMostAtOnce = 64;

// That a connection is over is always told.
constexpr unsigned kEndOnly = 0;

}  // namespace

Acceptor::Acceptor(ListeningSockets sockets, std::size_t most, Take take)
    : sockets_(std::move(sockets)),
      most_(most),
      take_(std::move(take)),
      events_(epoll_create1(EPOLL_CLOEXEC)),
      end_(eventfd(0, EFD_CLOEXEC)) {
  bool is_watched = watch(end_.number(), EPOLLIN);
  for (const Descriptor& socket : sockets_.descriptors) is_watched = is_watched && watch(socket.number(), EPOLLIN);
  if (!is_watched) throw std::runtime_error("cannot wait for connections: too few file descriptors");
  thread_ = std::thread([this] { work(); });
}

Acceptor::~Acceptor() {
  eventfd_write(end_.number(), 1);
  thread_.join();
}

void Acceptor::work() {
  std::array<epoll_event, 64> events;
  while (true) {
    const int count = epoll_wait(events_.number(), events.data(), static_cast<int>(events.size()), -1);
    for (int at = 0; at < count; ++at) {
      const int descriptor = events[static_cast<std::size_t>(at)].data.fd;
      if (descriptor == end_.number()) return;
      is_listening(descriptor) ? accept_all(descriptor) : forget(descriptor);
    }
  }
}

bool Acceptor::is_listening(int descriptor) const {
  return std::any_of(sockets_.descriptors.begin(), sockets_.descriptors.end(),
                     [=](const Descriptor& socket) { return socket.number() == descriptor; });
}

bool Acceptor::watch(int descriptor, unsigned events) const {
  epoll_event event{};
  event.events = events;
  event.data.fd = descriptor;
  return epoll_ctl(events_.number(), EPOLL_CTL_ADD, descriptor, &event) == 0;
}

void Acceptor::accept_all(int listening) {
  for (int taken = 0; taken < kMostAtOnce; ++taken) {
    Descriptor connection(accept4(listening, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (connection.is_open()) {
      if (open_.size() < most_) hand_over(listening, std::move(connection));
      continue;
    }
    const bool is_short = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
    if (is_short) std::this_thread::sleep_for(kPause);
    if (is_short || errno == EAGAIN) return;
  }
}

// Closes it where the system has no second descriptor for it.
void Acceptor::hand_over(int listening, Descriptor connection) {
  Descriptor second(fcntl(connection.number(), F_DUPFD_CLOEXEC, 0));
  if (!second.is_open() || !watch(second.number(), kEndOnly)) return;
  open_.emplace(second.number(), std::move(second));
  take_(listening, connection.release());
}

// Closing alone would not end the watch: gRPC may have its descriptor still.
void Acceptor::forget(int watched) {
  epoll_ctl(events_.number(), EPOLL_CTL_DEL, watched, nullptr);
  open_.erase(watched);
}

}  // namespace seqserve::grpc_edge
