#include "grpc_edge/tls.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include <utility>

namespace seqserve::grpc_edge {

namespace {

// gRPC 1.51 insists on roots for clients where certificates may change, even where it asks clients for none: then
// the chain stands there, which nobody is verified with.
grpc_ssl_server_certificate_config* config_of(const Identity& identity) {
  const grpc_ssl_pem_key_cert_pair pair{identity.key.c_str(), identity.chain.c_str()};
  const std::string& roots = identity.client_ca ? *identity.client_ca : identity.chain;
  return grpc_ssl_server_certificate_config_create(roots.c_str(), &pair, 1);
}

// gRPC C++ has no certificates that change and client certificates that are required; its core has both.
class ReloadingCredentials final : public grpc::ServerCredentials {
 public:
  ReloadingCredentials(Identity first, IdentitySource news) : first_(std::move(first)), news_(std::move(news)) {
    const auto request = first_->client_ca ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                           : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE;
    credentials_ = grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(request, fetch, this));
  }
  ~ReloadingCredentials() override { grpc_server_credentials_release(credentials_); }

  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  static grpc_ssl_certificate_config_reload_status fetch(void* whose, grpc_ssl_server_certificate_config** config) {
    auto& self = *static_cast<ReloadingCredentials*>(whose);
    try {
      // The first time while the port is added, by one thread.
      const std::optional<Identity> identity = self.first_ ? std::exchange(self.first_, std::nullopt) : self.news_();
      if (!identity) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
      *config = config_of(*identity);
      return *config == nullptr ? GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL : GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
    } catch (const std::exception&) {
      return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL;
    }
  }

  std::optional<Identity> first_;
  const IdentitySource news_;
  grpc_server_credentials* credentials_ = nullptr;
};

}  // namespace

std::shared_ptr<grpc::ServerCredentials> tls_credentials(Identity first, IdentitySource news) {
  return std::make_shared<ReloadingCredentials>(std::move(first), std::move(news));
}

}  // namespace seqserve::grpc_edge
