#include "python_edge/call_news.h"

#include <grpcpp/support/slice.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "grpc_edge/handle.h"

namespace py = pybind11;

namespace seqserve::python_edge {

namespace {

constexpr std::string_view kBinary = "-bin";

py::bytes bytes_of(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  if (!buffer.Dump(&slices).ok()) return {};
  std::size_t size = 0;
  for (const grpc::Slice& slice : slices) size += slice.size();
  auto bytes = py::reinterpret_steal<py::bytes>(
      PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size)));
  if (!bytes) throw py::error_already_set();
  char* to = PyBytes_AS_STRING(bytes.ptr());
  for (const grpc::Slice& slice : slices) {
    if (slice.size() != 0) std::memcpy(to, slice.begin(), slice.size());
    to += slice.size();
  }
  return bytes;
}

py::object bytes_or_none(const std::optional<grpc::ByteBuffer>& buffer) {
  return buffer ? py::object(bytes_of(*buffer)) : py::none();
}

// Callers may send what is no UTF-8; gRPC's own Python reads it as Latin-1 then.
py::object text_of(const std::string& text) {
  const auto size = static_cast<Py_ssize_t>(text.size());
  PyObject* decoded = PyUnicode_DecodeUTF8(text.data(), size, nullptr);
  if (decoded == nullptr) {
    PyErr_Clear();
    decoded = PyUnicode_DecodeLatin1(text.data(), size, nullptr);
  }
  if (decoded == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(decoded);
}

bool is_binary(std::string_view key) {
  return key.size() > kBinary.size() && key.substr(key.size() - kBinary.size()) == kBinary;
}

py::list metadata_of(const grpc_edge::Pairs& pairs) {
  py::list metadata;
  for (const auto& [key, value] : pairs) {
    metadata.append(py::make_tuple(text_of(key), is_binary(key) ? py::object(py::bytes(value)) : text_of(value)));
  }
  return metadata;
}

}  // namespace

void CallNews::called(std::shared_ptr<grpc_edge::CallHandle> call, grpc_edge::Envelope envelope,
                      std::optional<grpc::ByteBuffer> message) {
  desk_->leave([call = std::move(call), envelope = std::move(envelope), message = std::move(message)]() -> py::object {
    return py::make_tuple("called", call, text_of(envelope.path), metadata_of(envelope.metadata),
                          envelope.timeout.count(), bytes_or_none(message));
  });
}

void CallNews::message(std::uint64_t call, std::optional<grpc::ByteBuffer> message) {
  desk_->leave([call, message = std::move(message)]() -> py::object {
    return py::make_tuple("message", call, bytes_or_none(message));
  });
}

void CallNews::written(std::uint64_t call, bool is_written) {
  desk_->leave([call, is_written]() -> py::object { return py::make_tuple("written", call, is_written); });
}

void CallNews::over(std::uint64_t call, bool is_cancelled) {
  desk_->leave([call, is_cancelled]() -> py::object { return py::make_tuple("over", call, is_cancelled); });
}

void CallNews::streamed(std::shared_ptr<grpc_edge::StreamHandle> stream, grpc_edge::Envelope envelope,
                        std::uint64_t number, grpc::ByteBuffer message) {
  desk_->leave([stream = std::move(stream), envelope = std::move(envelope), number,
                message = std::move(message)]() -> py::object {
    return py::make_tuple("streamed", stream, text_of(envelope.path), metadata_of(envelope.metadata),
                          envelope.timeout.count(), number, bytes_of(message));
  });
}

void CallNews::internal(grpc_edge::InternalEnd end) {
  // Given back when the news are let go of, told or lost.
  const std::shared_ptr<void> place(nullptr, [internal = internal_](void*) { --internal->waiting; });
  if (++internal_->waiting > kMostInternal) return leave_out();
  desk_->leave([place, end = std::move(end)]() -> py::object {
    return py::make_tuple("internal", end.model, end.version, end.path, end.request_id, end.fault);
  });
}

void CallNews::leave_out() {
  if (internal_->left_out++ != 0) return;
  desk_->leave([internal = internal_]() -> py::object {
    return py::make_tuple("internal_left_out", internal->left_out.exchange(0));
  });
}

grpc::ByteBuffer buffer_of(const py::bytes& bytes) {
  const std::string_view content(bytes);
  const grpc::Slice slice(content.data(), content.size());
  return {&slice, 1};
}

grpc_edge::Pairs pairs_of(const py::iterable& metadata) {
  grpc_edge::Pairs pairs;
  for (const py::handle& each : metadata) {
    auto pair = each.cast<std::pair<std::string, std::string>>();
    pairs.push_back(std::move(pair));
  }
  return pairs;
}

}  // namespace seqserve::python_edge
