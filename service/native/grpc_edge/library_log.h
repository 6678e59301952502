// What the gRPC library itself has to say.
#pragma once

#include <string>
#include <string_view>

namespace seqserve::grpc_edge {

// To be called once, before anything of gRPC is used. By itself gRPC writes to standard error what callers sent it wrong,
// and their words with it. Now it does so only where GRPC_VERBOSITY asks for INFO or DEBUG, each time in one line of
// printable characters; its last words before it ends the process are always written.
void tame_library_log();

// Control characters and what is beyond ASCII as \xNN, and no more than 300 characters of it.
std::string printable(std::string_view words);

}  // namespace seqserve::grpc_edge
