// Connections beyond the limit are closed, and one that has ended leaves its place.
#include "grpc_edge/acceptor.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

// A name with an address that no machine here has (RFC 5737), before the one that it has.
extern "C" int getaddrinfo(const char* host, const char* port, const addrinfo* hints, addrinfo** found) {
  static const auto real = reinterpret_cast<decltype(&getaddrinfo)>(dlsym(RTLD_NEXT, "getaddrinfo"));
  const std::string name = host == nullptr ? "" : host;
  if (name != "two.test") return real(host, port, hints, found);
  const int fault = real("192.0.2.1", port, hints, found);
  return fault != 0 ? fault : real("127.0.0.1", port, hints, &(*found)->ai_next);
}

namespace seqserve::testing {
namespace {

using grpc_edge::Acceptor;
using grpc_edge::Descriptor;
using grpc_edge::listen_on;

Descriptor dial(int port) {
  Descriptor made(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in place{};
  place.sin_family = AF_INET;
  place.sin_port = htons(static_cast<std::uint16_t>(port));
  place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(made.number(), reinterpret_cast<sockaddr*>(&place), sizeof place), 0);
  return made;
}

// Waits until the other side closes it.
bool is_closed(const Descriptor& caller) {
  char byte = 0;
  return recv(caller.number(), &byte, 1, 0) <= 0;
}

// What takes the connections: they stay open until `drop`.
class Holder {
 public:
  Acceptor::Take take() {
    return [this](int, int connection) {
      const std::lock_guard lock(mutex_);
      held_.emplace_back(connection);
      changed_.notify_all();
    };
  }
  void wait_for(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return held_.size() >= count; });
  }
  // Without Nagle's delay.
  bool sends_at_once() {
    const std::lock_guard lock(mutex_);
    int is_set = 0;
    socklen_t size = sizeof is_set;
    getsockopt(held_.front().number(), IPPROTO_TCP, TCP_NODELAY, &is_set, &size);
    return is_set != 0;
  }
  // As gRPC does: shut first, then closed.
  void drop() {
    const std::lock_guard lock(mutex_);
    for (const Descriptor& one : held_) shutdown(one.number(), SHUT_RDWR);
    held_.clear();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Descriptor> held_;
};

class AcceptorTest : public ::testing::Test {
 protected:
  void listen(std::size_t most) {
    auto sockets = listen_on("127.0.0.1:0");
    port = sockets.port;
    acceptor = std::make_unique<Acceptor>(std::move(sockets), most, holder.take());
  }

  Holder holder;
  int port = 0;
  std::unique_ptr<Acceptor> acceptor;
};

TEST_F(AcceptorTest, ThoseBeyondTheLimitAreClosed) {
  listen(2);
  const Descriptor first = dial(port);
  const Descriptor second = dial(port);
  holder.wait_for(2);
  for (int beyond = 0; beyond < 8; ++beyond) EXPECT_TRUE(is_closed(dial(port)));
  pollfd still{first.number(), POLLIN, 0};
  EXPECT_EQ(poll(&still, 1, 0), 0);
}

TEST_F(AcceptorTest, ConnectionsSendAtOnce) {
  listen(1);
  const Descriptor caller = dial(port);
  holder.wait_for(1);
  EXPECT_TRUE(holder.sends_at_once());
}

TEST_F(AcceptorTest, AnEndedConnectionLeavesItsPlace) {
  listen(1);
  const Descriptor first = dial(port);
  holder.wait_for(1);
  EXPECT_TRUE(is_closed(dial(port)));
  holder.drop();
  EXPECT_TRUE(is_closed(first));
  // That it is over is noticed by another thread.
  while (true) {
    const Descriptor next = dial(port);
    pollfd closed{next.number(), POLLIN, 0};
    if (poll(&closed, 1, 20) == 0) break;
  }
  holder.wait_for(1);
}

TEST_F(AcceptorTest, ItsEndLeavesWhatItHandedOver) {
  listen(1);
  const Descriptor caller = dial(port);
  holder.wait_for(1);
  acceptor = nullptr;
  pollfd still{caller.number(), POLLIN, 0};
  EXPECT_EQ(poll(&still, 1, 0), 0);
  const Descriptor late(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in place{};
  place.sin_family = AF_INET;
  place.sin_port = htons(static_cast<std::uint16_t>(port));
  place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_NE(connect(late.number(), reinterpret_cast<sockaddr*>(&place), sizeof place), 0);
}

TEST(ListeningSocketsTest, ATakenPortIsNotSharedAndTheReasonIsTold) {
  const auto first = listen_on("127.0.0.1:0");
  try {
    listen_on("127.0.0.1:" + std::to_string(first.port));
    FAIL() << "it was shared";
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code().value(), EADDRINUSE);
    EXPECT_NE(std::string(error.what()).find("Address already in use"), std::string::npos) << error.what();
  }
}

TEST(ListeningSocketsTest, WhatIsNoAddressIsRefused) {
  EXPECT_THROW(listen_on("127.0.0.1"), std::runtime_error);
  EXPECT_THROW(listen_on("no host:0"), std::runtime_error);
}

TEST(ListeningSocketsTest, OneAddressOfANameIsEnough) {
  auto sockets = listen_on("two.test:0");
  ASSERT_EQ(sockets.descriptors.size(), 1U);
  const Descriptor caller = dial(sockets.port);
  try {
    listen_on("192.0.2.1:0");
    FAIL() << "nobody has it";
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code().value(), EADDRNOTAVAIL);
  }
}

TEST(ListeningSocketsTest, AllAddressesAreOneSocketOrAnIpv4One) {
  auto sockets = listen_on("0.0.0.0:0");
  ASSERT_EQ(sockets.descriptors.size(), 1U);
  const Descriptor caller = dial(sockets.port);
}

}  // namespace
}  // namespace seqserve::testing
