// What every call needs.
#pragma once

#include <grpcpp/completion_queue.h>
#include <grpcpp/support/byte_buffer.h>

#include <string>

#include "clock.h"

struct Load {
  std::string method;
  grpc::ByteBuffer body;
  Clock::duration deadline;
  grpc::CompletionQueue queue;
};
