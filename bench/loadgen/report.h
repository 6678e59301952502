// What a run has to say.
#pragma once

#include <string>

#include "tally.h"

// One JSON object on stdout, and on stderr one message for each code that is an error. seconds: that counted.
void Print(const Tally& tally, double seconds);

// The bytes of a message into a file. Raises std::runtime_error.
void WriteReply(const grpc::ByteBuffer& reply, const std::string& path);
