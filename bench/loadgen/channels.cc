#include "channels.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <chrono>
#include <stdexcept>

namespace {

constexpr std::chrono::seconds kConnectTimeout(10);

grpc::ChannelArguments Arguments() {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // else all channels share one connection
  arguments.SetMaxReceiveMessageSize(-1);
  return arguments;
}

}  // namespace

Stubs Connect(const std::string& target, int connections) {
  Stubs stubs;
  for (int i = 0; i < connections; ++i) {
    auto channel = grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), Arguments());
    if (!channel->WaitForConnected(std::chrono::system_clock::now() + kConnectTimeout)) {
      throw std::runtime_error("no connection to " + target);
    }
    stubs.push_back(std::make_unique<grpc::GenericStub>(channel));
  }
  return stubs;
}
