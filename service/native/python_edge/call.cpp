#include "python_edge/call.h"

#include <pybind11/stl.h>

#include <memory>
#include <string>

#include "grpc_edge/handle.h"
#include "python_edge/call_news.h"

namespace py = pybind11;

namespace seqserve::python_edge {

namespace {

using grpc_edge::Answerable;
using grpc_edge::AnswerableStream;
using grpc_edge::CallHandle;
using grpc_edge::StreamHandle;

void write(CallHandle& call, const py::bytes& message) {
  const grpc::ByteBuffer buffer = buffer_of(message);
  const py::gil_scoped_release release;
  call.tell(&Answerable::write, buffer);
}

void reply(CallHandle& call, const py::bytes& message, const py::iterable& trailing) {
  const grpc::ByteBuffer buffer = buffer_of(message);
  const grpc_edge::Pairs pairs = pairs_of(trailing);
  const py::gil_scoped_release release;
  call.tell(&Answerable::reply, buffer, pairs);
}

void finish(CallHandle& call, int code, const std::string& words, const py::iterable& trailing) {
  const grpc_edge::Pairs pairs = pairs_of(trailing);
  const py::gil_scoped_release release;
  call.tell(&Answerable::finish, code, words, pairs);
}

void answer(StreamHandle& stream, std::uint64_t number, const py::bytes& message) {
  const grpc::ByteBuffer buffer = buffer_of(message);
  const py::gil_scoped_release release;
  stream.tell(&AnswerableStream::answer, number, buffer);
}

void refuse(StreamHandle& stream, int code, const std::string& words, const py::iterable& trailing) {
  const grpc_edge::Pairs pairs = pairs_of(trailing);
  const py::gil_scoped_release release;
  stream.tell(&AnswerableStream::refuse, code, words, pairs);
}

}  // namespace

void bind_call(py::module_& module) {
  using py::arg;
  py::class_<CallHandle, std::shared_ptr<CallHandle>>(module, "Call")
      .def_property_readonly("id", &CallHandle::id)
      .def("read", [](CallHandle& call) { call.tell(&Answerable::read); }, py::call_guard<py::gil_scoped_release>())
      .def("write", write, arg("message"))
      .def("reply", reply, arg("message"), arg("trailing"))
      .def("finish", finish, arg("code"), arg("words"), arg("trailing"));
  py::class_<StreamHandle, std::shared_ptr<StreamHandle>>(module, "StreamCall")
      .def_property_readonly("id", &StreamHandle::id)
      .def("answer", answer, arg("number"), arg("reply"))
      .def("refuse", refuse, arg("code"), arg("words"), arg("trailing"));
}

}  // namespace seqserve::python_edge
