#include "streams.h"

#include <grpcpp/client_context.h>

#include <deque>
#include <memory>
#include <vector>

namespace {

// The first byte of a ModelStreamInferResponse without error_message: field 2, length-delimited.
constexpr uint8_t kInferResponse = 0x12;

// Nothing is parsed while time counts: error_message, where there is one, is written first.
grpc::Status StatusOf(const grpc::ByteBuffer& reply) {
  grpc::Slice slice;
  if (reply.TrySingleSlice(&slice).ok()) {
    if (slice.size() > 0 && *slice.begin() == kInferResponse) return grpc::Status::OK;
  } else if (reply.Length() > 0) {
    std::vector<grpc::Slice> slices;
    if (reply.Dump(&slices).ok() && *slices.front().begin() == kInferResponse) return grpc::Status::OK;
  }
  return {grpc::StatusCode::UNKNOWN, "a reply on the stream carries an error"};
}

class Stream {
 public:
  enum class Event { kStarted, kWritten, kRead, kClosed, kFinished };
  struct Tag {
    Stream* stream;
    Event event;
  };

  Stream(grpc::GenericStub* stub, size_t in_flight, Load* load, Tally* tally)
      : in_flight_(in_flight), load_(load), tally_(tally) {
    call_ = stub->PrepareCall(&context_, load->method, &load->queue);
    call_->StartCall(&started_);
  }

  // Goes on after an event. False when it was the stream's last.
  bool Handle(Event event, bool ok) {
    if (event == Event::kFinished) return Finished();
    if (event != Event::kRead) writing_ = false;
    if (event == Event::kStarted || event == Event::kRead) reading_ = false;
    broken_ = broken_ || !ok;
    if (event == Event::kRead && ok) Take();
    Continue();
    return true;
  }

 private:
  void Take() {
    tally_->Add(StatusOf(reply_), sent_.front(), &reply_);
    sent_.pop_front();
  }

  void Continue() {
    if (broken_ || (tally_->Over() && sent_.empty())) {
      End();
      return;
    }
    if (!reading_) Read();
    if (!writing_ && sent_.size() < in_flight_ && !tally_->Over()) Write();
  }

  void Read() {
    reading_ = true;
    call_->Read(&reply_, &read_);
  }

  void Write() {
    writing_ = true;
    sent_.push_back(Clock::now());
    call_->Write(load_->body, &written_);
  }

  // Closes our side, then waits for the server's; each operation ends before Finish.
  void End() {
    if (broken_) {
      if (!reading_ && !writing_ && !finishing_) Finish();
    } else if (!writing_ && !closed_) {
      closed_ = writing_ = true;
      call_->WritesDone(&closed_tag_);
      if (!reading_) Read();  // ends with ok = false when the server has closed
    }
  }

  void Finish() {
    finishing_ = true;
    call_->Finish(&status_, &finished_);
  }

  bool Finished() {
    if (!status_.ok()) tally_->Add(status_, sent_.empty() ? Clock::now() : sent_.front(), nullptr);
    return false;
  }

  const size_t in_flight_;
  Load* const load_;
  Tally* const tally_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
  grpc::ByteBuffer reply_;
  grpc::Status status_;
  std::deque<Clock::time_point> sent_;
  bool writing_ = true;  // nothing is written or read before the stream has started
  bool reading_ = true;
  bool closed_ = false;
  bool broken_ = false;
  bool finishing_ = false;
  Tag started_{this, Event::kStarted};
  Tag written_{this, Event::kWritten};
  Tag read_{this, Event::kRead};
  Tag closed_tag_{this, Event::kClosed};
  Tag finished_{this, Event::kFinished};
};

}  // namespace

void RunStreams(const Stubs& stubs, int streams, int in_flight, Load* load, Tally* tally) {
  std::deque<Stream> open;
  for (size_t i = 0; i < static_cast<size_t>(streams); ++i) {
    open.emplace_back(stubs[i % stubs.size()].get(), static_cast<size_t>(in_flight), load, tally);
  }
  void* tag;
  bool ok;
  for (int live = streams; live > 0 && load->queue.Next(&tag, &ok);) {
    const auto* arrived = static_cast<Stream::Tag*>(tag);
    if (!arrived->stream->Handle(arrived->event, ok)) --live;
  }
}
