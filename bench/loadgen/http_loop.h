// Callers over HTTP who ask again when they have their answer.
#pragma once

#include <string>

#include "tally.h"

// target: A.B.C.D:PORT.
struct HttpRequest {
  std::string target;
  std::string path;
  std::string content_type;
  std::string body;
};

// Raises std::runtime_error where nobody listens, and for replies that are no HTTP/1.1 with a Content-Length.
void RunHttpLoop(const HttpRequest& request, int callers, Tally* tally);
