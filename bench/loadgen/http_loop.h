// Callers over HTTP who ask again when they have their answer.
#pragma once

#include <netinet/in.h>

#include <memory>
#include <string>
#include <vector>

#include "http_call.h"
#include "tally.h"

// target: A.B.C.D:PORT.
struct HttpRequest {
  std::string target;
  std::string path;
  std::string content_type;
  std::string body;
};

class HttpLoop {
 public:
  // Connects all callers. Raises std::runtime_error where nobody listens.
  HttpLoop(const HttpRequest& request, int callers);
  ~HttpLoop();

  HttpLoop(const HttpLoop&) = delete;
  HttpLoop& operator=(const HttpLoop&) = delete;

  // Raises std::runtime_error for replies that are no HTTP/1.1 with a Content-Length.
  void Run(Tally* tally);

 private:
  void Connect(size_t at);
  void AskAgain(size_t at);

  const int epoll_;
  const std::string bytes_;
  const sockaddr_in address_;
  std::vector<std::unique_ptr<HttpCall>> calls_;
};
