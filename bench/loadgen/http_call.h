// One caller over HTTP with a connection of its own, which is kept.
#pragma once

#include <netinet/in.h>

#include <string>

#include "clock.h"
#include "http_reply.h"
#include "tally.h"

class HttpCall {
 public:
  // Connects. request: all of its bytes; it outlives the call. Raises std::runtime_error where nobody listens.
  HttpCall(const sockaddr_in& server, const std::string& request);
  ~HttpCall();

  HttpCall(const HttpCall&) = delete;
  HttpCall& operator=(const HttpCall&) = delete;

  int descriptor() const { return descriptor_; }

  // Asks.
  void Start();

  // After the connection can be read or written. True once the reply is whole, which is then in the tally, or
  // once the server has hung up, which counts as UNAVAILABLE.
  bool Continue(Tally* tally);

  // The server has hung up: another call takes this one's place.
  bool broken() const { return broken_; }

 private:
  void Send();
  bool Receive(Tally* tally);
  bool HungUp(Tally* tally);
  void Record(Tally* tally);

  const std::string& request_;
  const int descriptor_;
  Clock::time_point since_;
  size_t sent_ = 0;
  bool broken_ = false;
  HttpReply reply_;
};
