#include "grpc_edge/listening_sockets.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace seqserve::grpc_edge {

namespace {

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

// The faults of getaddrinfo, by its own numbers.
class ResolverFaults final : public std::error_category {
 public:
  const char* name() const noexcept override { return "getaddrinfo"; }
  std::string message(int fault) const override { return gai_strerror(fault); }
};

[[noreturn]] void refuse(const std::string& address, const std::error_code& why) {
  throw std::system_error(why, "cannot listen on " + address);
}

std::pair<std::string, std::string> host_and_port(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos) throw std::runtime_error("cannot listen on " + address + ": it has no port");
  std::string host = address.substr(0, colon);
  if (host.size() > 1 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return {host, address.substr(colon + 1)};
}

Addresses addresses_of(const std::string& address, const std::string& host, const std::string& port) {
  addrinfo wanted{};
  wanted.ai_family = AF_UNSPEC;
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int fault = getaddrinfo(host.c_str(), port.c_str(), &wanted, &found);
  if (fault == 0) return {found, freeaddrinfo};
  static const ResolverFaults faults;
  if (fault == EAI_SYSTEM) refuse(address, {errno, std::generic_category()});
  refuse(address, {fault, faults});
}

void turn(const Descriptor& socket, int level, int option, int value) {
  setsockopt(socket.number(), level, option, &value, sizeof value);
}

void set_port(sockaddr_storage& place, int port) {
  auto& field = place.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(place).sin6_port
                                            : reinterpret_cast<sockaddr_in&>(place).sin_port;
  field = htons(static_cast<std::uint16_t>(port));
}

int port_of(const Descriptor& socket) {
  sockaddr_storage place{};
  socklen_t size = sizeof place;
  getsockname(socket.number(), reinterpret_cast<sockaddr*>(&place), &size);
  return ntohs(place.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(place).sin6_port
                                           : reinterpret_cast<sockaddr_in&>(place).sin_port);
}

// Not open where the system refuses; errno says why. port: instead of the address's own, unless 0.
Descriptor listening_socket(const addrinfo& one, int port, bool takes_both_families) {
  Descriptor made(socket(one.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!made.is_open()) return made;
  turn(made, SOL_SOCKET, SO_REUSEADDR, 1);
  // Connections inherit it.
  turn(made, IPPROTO_TCP, TCP_NODELAY, 1);
  if (one.ai_family == AF_INET6) turn(made, IPPROTO_IPV6, IPV6_V6ONLY, takes_both_families ? 0 : 1);
  sockaddr_storage place{};
  std::copy_n(reinterpret_cast<const char*>(one.ai_addr), one.ai_addrlen, reinterpret_cast<char*>(&place));
  if (port != 0) set_port(place, port);
  const bool is_bound = bind(made.number(), reinterpret_cast<sockaddr*>(&place), one.ai_addrlen) == 0;
  return is_bound && listen(made.number(), SOMAXCONN) == 0 ? std::move(made) : Descriptor();
}

// One socket for IPv4 and IPv6; not open where the system has no IPv6.
Descriptor socket_for_all(const std::string& address, const std::string& port) {
  const Addresses found = addresses_of(address, "::", port);
  return listening_socket(*found, 0, true);
}

}  // namespace

ListeningSockets listen_on(const std::string& address) {
  const auto [host, port] = host_and_port(address);
  ListeningSockets sockets;
  if (host == "0.0.0.0" || host == "::") {
    if (Descriptor both = socket_for_all(address, port); both.is_open()) {
      sockets.port = port_of(both);
      sockets.descriptors.push_back(std::move(both));
      return sockets;
    }
  }
  const Addresses found = addresses_of(address, host, port);
  std::error_code why;
  for (const addrinfo* one = found.get(); one != nullptr; one = one->ai_next) {
    Descriptor made = listening_socket(*one, sockets.port, false);
    if (!made.is_open()) {
      if (!why) why = {errno, std::generic_category()};
      continue;
    }
    sockets.port = port_of(made);
    sockets.descriptors.push_back(std::move(made));
  }
  if (sockets.descriptors.empty()) refuse(address, why);
  return sockets;
}

}  // namespace seqserve::grpc_edge
