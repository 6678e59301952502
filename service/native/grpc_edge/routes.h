// Which version answers a request: by the model and the version that a caller writes.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "grpc_edge/served_version.h"

namespace seqserve::grpc_edge {

struct Route {
  std::string model;
  std::string version;
  ServedPtr served;
};

class Routes {
 public:
  // Once it returns, nobody is being bound to what was there before.
  void replace(std::vector<Route> table);

  // Binds a request: `bind` is called with the version, or null, and no other table comes until it returns.
  template <typename Bind>
  auto bound(std::string_view model, std::string_view version, const Bind& bind) const {
    const std::lock_guard lock(mutex_);
    return bind(find(model, version));
  }

 private:
  const ServedPtr& find(std::string_view model, std::string_view version) const;

  mutable std::mutex mutex_;
  std::vector<Route> table_;
};

}  // namespace seqserve::grpc_edge
