// One unary call of ModelInfer, from the request for it to its last event.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <optional>
#include <string>

#include "grpc_edge/edge.h"
#include "grpc_edge/event.h"
#include "grpc_edge/handle.h"
#include "grpc_edge/hot_request.h"

namespace seqserve::grpc_edge {

// Lives until gRPC has told that the reply is out and that the call is over, and frees itself then.
class InferCall final : public Answerable, private Deadlines::Timed {
 public:
  // Asks gRPC for the next call.
  static void await(Edge& edge);

  explicit InferCall(Edge& edge);
  InferCall(const InferCall&) = delete;
  InferCall& operator=(const InferCall&) = delete;
  ~InferCall();

 private:
  void on_arrived(bool ok);
  void on_finished(bool ok);
  void on_over(bool ok);

  // False where it is not for the hot path.
  bool serve_hot();
  void answer(const Outcome& outcome);
  // Its time is over.
  void expire() override;
  void refuse(const Failure& failure);
  void hand_over();
  void turn_away(const Failure& failure);
  void free_when_done();

  // Answerable.
  void read() override;
  void write(const grpc::ByteBuffer& message) override;
  void reply(const grpc::ByteBuffer& message, const Pairs& trailing) override;
  void finish(int code, const std::string& words, const Pairs& trailing) override;
  bool begin_answer(const Pairs& trailing);

  Edge& edge_;
  grpc::ServerContext context_;
  grpc::ByteBuffer message_;
  Responder responder_{&context_};
  Event arrived_ = event_of<&InferCall::on_arrived>(this);
  Event finished_ = event_of<&InferCall::on_finished>(this);
  Event over_ = event_of<&InferCall::on_over>(this);
  HotRequest hot_;
  std::string request_id_;
  // Where somebody elsewhere answers.
  std::shared_ptr<CallHandle> handle_;
  std::optional<ByteRoom::Share> room_;
  bool is_answered_ = false;
  bool is_finished_ = false;
  bool is_over_ = false;
};

}  // namespace seqserve::grpc_edge
