#include "python_edge/server.h"

#include <pybind11/stl.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <tuple>

#include "grpc_edge/tls.h"
#include "python_edge/held.h"

namespace py = pybind11;

namespace seqserve::python_edge {

namespace {

using grpc_edge::Identity;

// With Python's lock.
std::optional<Identity> ask(const py::handle& identity) {
  const py::object given = identity();
  if (given.is_none()) return std::nullopt;
  auto [key, chain, client_ca] =
      given.cast<std::tuple<std::string, std::string, std::optional<std::string>>>();
  return Identity{std::move(key), std::move(chain), std::move(client_ca)};
}

std::shared_ptr<grpc::ServerCredentials> credentials_of(const py::object& identity) {
  if (identity.is_none()) return grpc::InsecureServerCredentials();
  std::optional<Identity> first = ask(identity);
  if (!first) throw py::value_error("identity gave none at its first call");
  // gRPC may let go of it on any thread, and asks on any thread.
  return grpc_edge::tls_credentials(std::move(*first), [held = hold(identity)]() -> std::optional<Identity> {
    const py::gil_scoped_acquire acquire;
    try {
      return ask(held.get());
    } catch (const std::exception& error) {
      // Without Python's exception, which may be let go of with Python's lock only.
      throw std::runtime_error(error.what());
    }
  });
}

// number: errno's, or getaddrinfo's; 0 for neither.
[[noreturn]] void raise_os_error(int number, const std::string& reason) {
  py::set_error(PyExc_OSError, py::make_tuple(number, reason));
  throw py::error_already_set();
}

// A thread keeps what Python and torch know of it as long as it has a state of its own.
void with_state(const grpc_edge::Work& work) {
  const py::gil_scoped_acquire state;
  const py::gil_scoped_release unlocked;
  work();
}

}  // namespace

Server::Server(std::shared_ptr<Desk> desk, std::shared_ptr<Runners> runners, Options options,
               const grpc_edge::CallLimits& limits)
    : runners_(std::move(runners)),
      options_(std::move(options)),
      news_(std::move(desk)),
      edge_(limits, clock_, news_, runners_->core()) {}

Server::~Server() {
  const py::gil_scoped_release release;
  edge_.stop(Time{0});
}

int Server::listen(const std::string& address, const py::object& identity) {
  const grpc_edge::Listening listening{address, credentials_of(identity), options_, with_state};
  try {
    const py::gil_scoped_release release;
    return edge_.listen(listening);
  } catch (const std::system_error& error) {
    raise_os_error(error.code().value(), error.code().message());
  } catch (const std::runtime_error& error) {
    raise_os_error(0, error.what());
  }
}

void Server::route(const py::iterable& table) {
  std::vector<grpc_edge::Route> routes;
  for (const py::handle& each : table) {
    auto [model, version, served] =
        each.cast<std::tuple<std::string, std::string, std::shared_ptr<grpc_edge::ServedVersion>>>();
    routes.push_back({std::move(model), std::move(version), std::move(served)});
  }
  const py::gil_scoped_release release;
  edge_.route(std::move(routes));
}

void bind_server(py::module_& module) {
  using py::arg;
  const auto make = [](std::shared_ptr<Desk> desk, std::shared_ptr<Runners> runners, Server::Options options, int max_message_bytes,
                       std::int64_t default_timeout_ns, std::int64_t max_timeout_ns, std::size_t max_python_calls,
                       std::size_t max_python_bytes) {
    return std::make_unique<Server>(
        std::move(desk), std::move(runners), std::move(options),
        grpc_edge::CallLimits{max_message_bytes, Time{default_timeout_ns}, Time{max_timeout_ns}, max_python_calls,
                              max_python_bytes});
  };
  using Release = py::call_guard<py::gil_scoped_release>;
  py::class_<Server>(module, "Server")
      .def(py::init(make), arg("desk"), arg("runners"), py::kw_only(), arg("options"), arg("max_message_bytes"),
           arg("default_timeout_ns"), arg("max_timeout_ns"), arg("max_python_calls"), arg("max_python_bytes"))
      .def("listen", &Server::listen, arg("address"), arg("identity").none(true))
      .def("route", &Server::route, arg("table"))
      .def("set_hot", [](Server& server, bool is_hot) { server.edge().set_hot(is_hot); }, arg("is_hot"))
      .def("drain", [](Server& server) { server.edge().drain(); }, Release())
      .def_property_readonly("turned_away", [](Server& server) { return server.edge().turned_away(); })
      .def_property_readonly("refused_calls", [](Server& server) { return server.edge().refused_calls(); })
      .def("stop", [](Server& server, std::int64_t grace_ns) { server.edge().stop(Time{grace_ns}); },
           arg("grace_ns"), Release());
  module.def("library_version", [] { return grpc::Version(); });
}

}  // namespace seqserve::python_edge
