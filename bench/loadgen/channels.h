// Connections to the server.
#pragma once

#include <grpcpp/generic/generic_stub.h>

#include <memory>
#include <string>
#include <vector>

using Stubs = std::vector<std::unique_ptr<grpc::GenericStub>>;

// As many connections, each of its own, in plaintext. Raises std::runtime_error where one cannot be made.
Stubs Connect(const std::string& target, int connections);
