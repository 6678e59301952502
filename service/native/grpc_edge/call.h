// One call of ModelInfer, from the request for it to its last event.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "core/ticket.h"
#include "grpc_edge/infer_service.h"
#include "grpc_edge/served_version.h"
#include "wire/infer_request.h"

namespace seqserve::grpc_edge {

// What all calls share.
struct Desk {
  // Answers what the hot path does not: with a reply or the reason why there is none.
  using Elsewhere = std::function<grpc::Status(const grpc::ByteBuffer& message, grpc::ByteBuffer& reply)>;

  Desk(InferService& infer, grpc::ServerCompletionQueue& events, const Clock& time, Resolve versions, Elsewhere others)
      : service(infer), queue(events), clock(time), resolve(std::move(versions)), elsewhere(std::move(others)) {}

  InferService& service;
  grpc::ServerCompletionQueue& queue;
  const Clock& clock;
  Resolve resolve;
  Elsewhere elsewhere;
  // Calls that are awaited or served: the queue is needed until there are none.
  std::atomic<std::size_t> calls{0};
  std::atomic<bool> is_stopping{false};
};

// Lives until gRPC has told that the reply is out and that the call is over, and frees itself then.
class Call {
 public:
  // What an event of the queue stands for.
  struct Event {
    Call* call;
    void (Call::*happened)(bool ok);
  };

  // Asks gRPC for the next call.
  static void await(Desk& desk);

  explicit Call(Desk& desk) : desk_(desk) { ++desk_.calls; }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  ~Call() { --desk_.calls; }

 private:

  void on_arrived(bool ok);
  void on_finished(bool ok);
  void on_over(bool ok);

  void serve();
  void admit(const ServedVersion& version, const wire::InferRequest& request, std::size_t examples);
  void answer(const Outcome& outcome);
  void hand_over();
  void refuse(const grpc::Status& status);
  Time deadline(std::int64_t timeout_microseconds) const;
  void free_when_done();

  Desk& desk_;
  grpc::ServerContext context_;
  grpc::ByteBuffer message_;
  Responder responder_{&context_};
  Event arrived_{this, &Call::on_arrived};
  Event finished_{this, &Call::on_finished};
  Event over_{this, &Call::on_over};
  // The message in one piece: the request shows into it.
  grpc::Slice bytes_;
  const ServedVersion* version_ = nullptr;
  std::optional<Ticket> ticket_;
  std::string id_;
  bool is_raw_ = true;
  bool is_finished_ = false;
  bool is_over_ = false;
};

}  // namespace seqserve::grpc_edge
