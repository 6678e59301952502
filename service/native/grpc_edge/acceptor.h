// Takes connections, no more of them at once than it may, and hands them over. It has a thread of its own.
#pragma once

#include <cstddef>
#include <functional>
#include <thread>
#include <unordered_map>

#include "grpc_edge/descriptor.h"
#include "grpc_edge/listening_sockets.h"

namespace seqserve::grpc_edge {

// gRPC before 1.55 has no bound for connections, and takes none any more once the process has been short of
// descriptors (CVE-2023-4785). A connection counts from the moment it is taken, before any handshake. It is over
// once both directions are shut, which gRPC does before it closes: a second descriptor of the connection hears of
// it, and nothing is asked while calls are answered.
class Acceptor {
 public:
  // Whose the descriptor is from now on. On the acceptor's thread.
  using Take = std::function<void(int listening, int connection)>;

  // Throws std::runtime_error where the system has no descriptors for it.
  Acceptor(ListeningSockets sockets, std::size_t most, Take take);
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;
  // Takes no more; connections that were handed over live on.
  ~Acceptor();

 private:
  void work();
  bool is_listening(int descriptor) const;
  bool watch(int descriptor, unsigned events) const;
  void accept_all(int listening);
  void hand_over(int listening, Descriptor connection);
  void forget(int watched);

  ListeningSockets sockets_;
  const std::size_t most_;
  const Take take_;
  Descriptor events_;
  Descriptor end_;
  // By the numbers of the second descriptors.
  std::unordered_map<int, Descriptor> open_;
  std::thread thread_;
};

}  // namespace seqserve::grpc_edge
