// The sockets of one port: one for each address of its host that can be listened on.
#pragma once

#include <string>
#include <vector>

#include "grpc_edge/descriptor.h"

namespace seqserve::grpc_edge {

struct ListeningSockets {
  std::vector<Descriptor> descriptors;
  int port = 0;
};

// address: "host:port" or "[host]:port"; a free port for 0. 0.0.0.0 and :: are both all addresses, of IPv4 and of
// IPv6, as gRPC has it. Throws std::system_error where none of them can be listened on, with the first one's reason,
// and std::runtime_error for what is no address.
ListeningSockets listen_on(const std::string& address);

}  // namespace seqserve::grpc_edge
