// One native stream of ModelStreamInfer: each message is answered as ModelInfer would be, in the order in which
// the answers are ready.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "grpc_edge/generic_call.h"
#include "grpc_edge/handle.h"
#include "grpc_edge/hot_request.h"

namespace seqserve::grpc_edge {

// A message is in flight from its reading until its reply is written; with so many of them reading stops, so
// that a caller who reads no replies is held back by gRPC's flow control.
inline constexpr std::size_t kMostInFlight = 256;

using HotRequestPtr = std::unique_ptr<HotRequest>;

// Its state is guarded by the handle's lock. It frees itself once the call is over, no operation is under way,
// and nobody computes for it. A request may be the last to hold a version, and with it what only Python may let
// go of: none dies under a lock.
class InferStream final : public AnswerableStream {
 public:
  // Serves a stream that has arrived.
  static void serve(GenericCallPtr call);

  explicit InferStream(GenericCallPtr call);

  // Takes no more messages, and ends the stream once those in flight are answered.
  void drain();

  // Answers messages whose own time is over, for the caller to let go of. Returns when the next one's may be; on
  // the server's thread.
  Time sweep(Time now, std::vector<HotRequestPtr>& expired);

 private:
  using Lock = std::unique_lock<std::mutex>;

  struct End {
    grpc::Status status;
    Pairs trailing;
  };

  void on_read(bool ok);
  void on_written(bool ok);
  void on_finished(bool ok);
  void on_over(bool ok);

  void take(std::uint64_t number, const grpc::ByteBuffer& message);
  void hand_over(std::uint64_t number, const grpc::ByteBuffer& message);
  // The completion of a hot message; on any thread.
  void complete(std::uint64_t number, HotRequest& hot, const Outcome& outcome);
  grpc::ByteBuffer reply_to(std::uint64_t number, HotRequest& hot, const Outcome& outcome);
  grpc::ByteBuffer refusal(const Failure& failure, const std::string& own_id, std::uint64_t number) const;
  std::string message_id(const std::string& own_id, std::uint64_t number) const;
  void put(grpc::ByteBuffer reply);

  // Unlocks, sets going what can go, and frees the stream where nothing is to come. Whoever changes the state
  // calls it under the same lock: between two, another thread might free it.
  void go_on(Lock lock);
  void read_next();
  void write_next();
  void end_when_answered();
  bool is_done() const;

  // AnswerableStream.
  void answer(std::uint64_t number, const grpc::ByteBuffer& reply) override;
  void refuse(int code, const std::string& words, const Pairs& trailing) override;

  const GenericCallPtr call_;
  Edge& edge_;
  const std::shared_ptr<StreamHandle> handle_;
  const std::string request_id_;
  std::map<std::uint64_t, HotRequestPtr> hot_;
  // Messages that somebody elsewhere is to answer, by their numbers.
  std::map<std::uint64_t, ByteRoom::Share> elsewhere_;
  std::deque<grpc::ByteBuffer> replies_;
  // How it ends where its caller does not end it.
  std::optional<End> end_;
  // Of a message that is in hot_, or earlier. The server's thread's.
  Time earliest_ = kNever;
  std::uint64_t received_ = 0;
  std::size_t in_flight_ = 0;
  bool has_place_ = false;
  bool is_taking_ = false;
  bool is_reading_ = false;
  bool is_writing_ = false;
  bool has_all_ = false;
  bool is_ending_ = false;
  bool is_finished_ = false;
  bool is_over_ = false;
};

}  // namespace seqserve::grpc_edge
