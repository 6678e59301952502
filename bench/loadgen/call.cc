#include "call.h"

#include <chrono>

void Call::Start(grpc::GenericStub* stub, Load* load, Clock::time_point since) {
  context_ = std::make_unique<grpc::ClientContext>();
  context_->set_deadline(std::chrono::system_clock::now() +
                         std::chrono::duration_cast<std::chrono::system_clock::duration>(load->deadline));
  reply_.Clear();
  since_ = since;
  reader_ = stub->PrepareUnaryCall(context_.get(), load->method, load->body, &load->queue);
  reader_->StartCall();
  reader_->Finish(&reply_, &status_, this);
}

void Call::Record(Tally* tally) { tally->Add(status_, since_, &reply_); }
