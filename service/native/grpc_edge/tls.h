// TLS and mutual TLS with certificates that may change while the server serves.
#pragma once

#include <grpcpp/security/server_credentials.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace seqserve::grpc_edge {

// PEM. client_ca: where callers are to show a certificate that it has signed.
struct Identity {
  std::string key;
  std::string chain;
  std::optional<std::string> client_ca;
};

// Asked at each handshake, on any thread: none where nothing has changed. What it throws changes nothing either.
using IdentitySource = std::function<std::optional<Identity>()>;

// Whether callers have to show a certificate is decided by `first`, which has to be one that OpenSSL takes: gRPC does
// not tell where it takes none, and nobody would be answered.
std::shared_ptr<grpc::ServerCredentials> tls_credentials(Identity first, IdentitySource news);

}  // namespace seqserve::grpc_edge
