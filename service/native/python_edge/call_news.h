// The edge's calls as news on the desk, and what Python sends with them as gRPC takes it.
#pragma once

#include <pybind11/pybind11.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "grpc_edge/elsewhere.h"
#include "python_edge/desk.h"

namespace seqserve::python_edge {

// So many calls that ended as INTERNAL wait for the log at once: each is a traceback there, which takes far longer
// than such a call. Of the others it hears how many they are.
inline constexpr std::size_t kMostInternal = 64;

class CallNews final : public grpc_edge::Elsewhere {
 public:
  explicit CallNews(std::shared_ptr<Desk> desk) : desk_(std::move(desk)) {}

  void called(std::shared_ptr<grpc_edge::CallHandle> call, grpc_edge::Envelope envelope,
              std::optional<grpc::ByteBuffer> message) override;
  void message(std::uint64_t call, std::optional<grpc::ByteBuffer> message) override;
  void written(std::uint64_t call, bool is_written) override;
  void over(std::uint64_t call, bool is_cancelled) override;
  void streamed(std::shared_ptr<grpc_edge::StreamHandle> stream, grpc_edge::Envelope envelope, std::uint64_t number,
                grpc::ByteBuffer message) override;
  void internal(grpc_edge::InternalEnd end) override;

 private:
  struct Internal {
    std::atomic<std::size_t> waiting{0};
    std::atomic<std::uint64_t> left_out{0};
  };

  void leave_out();

  const std::shared_ptr<Desk> desk_;
  const std::shared_ptr<Internal> internal_ = std::make_shared<Internal>();
};

// All with Python's lock. Metadata: pairs of text, and of text or bytes; pybind11::cast_error for anything else.
grpc::ByteBuffer buffer_of(const pybind11::bytes& bytes);
grpc_edge::Pairs pairs_of(const pybind11::iterable& metadata);

}  // namespace seqserve::python_edge
