#include "grpc_edge/routes.h"

#include <algorithm>
#include <tuple>

namespace seqserve::grpc_edge {

namespace {

using Key = std::tuple<std::string_view, std::string_view>;

Key key_of(const Route& route) { return {route.model, route.version}; }

}  // namespace

void Routes::replace(std::vector<Route> table) {
  std::sort(table.begin(), table.end(),
            [](const Route& one, const Route& other) { return key_of(one) < key_of(other); });
  {
    const std::lock_guard lock(mutex_);
    table_.swap(table);
  }
  // What was there is let go of without the lock.
}

const ServedPtr& Routes::find(std::string_view model, std::string_view version) const {
  static const ServedPtr kNone;
  const Key key{model, version};
  const auto found = std::lower_bound(table_.begin(), table_.end(), key,
                                      [](const Route& route, const Key& wanted) { return key_of(route) < wanted; });
  return found != table_.end() && key_of(*found) == key ? found->served : kNone;
}

}  // namespace seqserve::grpc_edge
