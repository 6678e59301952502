// The listener as Python has it.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "grpc_edge/infer_server.h"
#include "python_edge/call_news.h"
#include "python_edge/desk.h"
#include "python_edge/runners.h"

namespace seqserve::python_edge {

class Server {
 public:
  using Options = std::vector<std::pair<std::string, int>>;

  Server(std::shared_ptr<Desk> desk, std::shared_ptr<Runners> runners, Options options,
         const grpc_edge::CallLimits& limits);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  // With Python's lock, which it releases while it waits.
  ~Server();

  // With Python's lock; see _native.pyi. Raises OSError.
  int listen(const std::string& address, const pybind11::object& identity);
  void route(const pybind11::iterable& table);

  grpc_edge::InferServer& edge() { return edge_; }

 private:
  const std::shared_ptr<Runners> runners_;
  const Options options_;
  const SteadyClock clock_;
  CallNews news_;
  grpc_edge::InferServer edge_;
};

void bind_server(pybind11::module_& module);

}  // namespace seqserve::python_edge
