// A call that somebody elsewhere answers, of whatever kind: it reads, writes and ends as it is told.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "grpc_edge/failure.h"
#include "grpc_edge/generic_call.h"
#include "grpc_edge/handle.h"

namespace seqserve::grpc_edge {

// Its state is guarded by the handle's lock. It frees itself once it is over and no operation is under way.
class SideCall final : public Answerable {
 public:
  // Offers a call that has arrived to those elsewhere, or refuses it where they have too many.
  static void serve(GenericCallPtr call);

  explicit SideCall(GenericCallPtr call);

 private:
  struct End {
    grpc::Status status;
    Pairs trailing;
  };

  void on_read(bool ok);
  void on_written(bool ok);
  void on_finished(bool ok);
  void on_over(bool ok);

  void offer();
  // Room for a message that was read; where there is none the call ends.
  bool take_room(const grpc::ByteBuffer& message);
  void refuse(const Failure& failure);
  void end_with(End wished);
  void end(const End& end);
  void free_when_done();

  // Answerable.
  void read() override;
  void write(const grpc::ByteBuffer& message) override;
  void reply(const grpc::ByteBuffer& message, const Pairs& trailing) override;
  void finish(int code, const std::string& words, const Pairs& trailing) override;

  const GenericCallPtr call_;
  Edge& edge_;
  const std::shared_ptr<CallHandle> handle_;
  // Of messages without an answer, the oldest first: a message of a stream has one reply.
  std::deque<ByteRoom::Share> rooms_;
  // A status that has to wait for the message before it.
  std::optional<End> postponed_;
  bool has_place_ = false;
  bool is_reading_ = false;
  bool is_writing_ = false;
  bool is_ending_ = false;
  bool is_finished_ = false;
  bool is_over_ = false;
};

}  // namespace seqserve::grpc_edge
