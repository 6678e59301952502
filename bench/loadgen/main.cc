// A load generator for unary and streaming gRPC calls of one prepared message, and for HTTP's POST. Nothing is
// encoded or decoded while time counts; whoever started it reads the first and the last reply. bench/README.md
// shows its options.
#include <grpcpp/support/slice.h>

#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

#include "closed_loop.h"
#include "http_loop.h"
#include "open_loop.h"
#include "options.h"
#include "report.h"
#include "streams.h"

namespace {

std::string ReadBody(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

void RunGrpc(const Options& options, const std::string& body, Tally* tally, const Stubs& stubs) {
  const grpc::Slice slice(body);
  Load load{options.method, grpc::ByteBuffer(&slice, 1), Seconds(options.deadline_seconds), {}};
  if (options.rate > 0) {
    RunOpenLoop(stubs, options.rate, &load, tally);
  } else if (options.in_flight > 0) {
    RunStreams(stubs, options.callers, options.in_flight, &load, tally);
  } else {
    RunClosedLoop(stubs, options.callers, &load, tally);
  }
}

Tally RunLoad(const Options& options) {
  const std::string body = ReadBody(options.body);
  if (!options.path.empty()) {
    const HttpRequest request{options.target, options.path, options.content_type, body};
    HttpLoop loop(request, options.callers);
    Tally tally(options.warm_up_seconds, options.seconds);
    loop.Run(&tally);
    return tally;
  }
  const Stubs stubs = Connect(options.target, options.connections);
  Tally tally(options.warm_up_seconds, options.seconds);
  RunGrpc(options, body, &tally, stubs);
  return tally;
}

void Run(const Options& options) {
  const Tally tally = RunLoad(options);
  Print(tally, options.seconds);
  if (!options.first_reply.empty()) WriteReply(tally.first(), options.first_reply);
  if (!options.last_reply.empty()) WriteReply(tally.last(), options.last_reply);
}

}  // namespace

// 0; 1 where no request could be made or none was answered; 2 for a bad command line.
int main(int argc, char** argv) {
  try {
    Run(ReadOptions(argc, argv));
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "loadgen: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "loadgen: %s\n", error.what());
    return 1;
  }
  return 0;
}
