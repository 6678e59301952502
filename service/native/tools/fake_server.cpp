// The native front with an engine that is none: what the front alone can do. Stops at the end of its input.
//
//   fake_server PORT [THREADS]     ModelInfer of `fake`, FP32 image [n,784] to probabilities [n,10]
//
// THREADS: run batches on so many threads; 0, the default, runs them on the server's own.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "core/runners.h"
#include "core/watch.h"
#include "grpc_edge/infer_server.h"

namespace {

using namespace seqserve;

constexpr std::size_t kInputs = 784;
constexpr std::size_t kOutputs = 10;

void engine(const float* rows, std::size_t count, float* outputs) {
  for (std::size_t row = 0; row < count; ++row) {
    for (std::size_t place = 0; place < kOutputs; ++place) outputs[row * kOutputs + place] = 0.1F * rows[row * kInputs];
  }
}

grpc_edge::ServedVersion served(const Clock& clock) {
  Limits limits;
  limits.max_batch_rows = 64;
  const VersionPtr queue = Version::make({kInputs, kOutputs}, limits, engine, clock);
  grpc_edge::ServedVersion version{"fake", "1", queue, {}, "probabilities", {10}};
  version.input.name = "image";
  version.input.shapes = {{{784}, true}, {{28, 28}, true}};
  version.input.minimum = 0.0F;
  version.input.maximum = 1.0F;
  return version;
}

void print(const BatchSnapshot& counts) {
  const double batches = static_cast<double>(std::max<std::uint64_t>(counts.batches(), 1));
  std::printf("computed %llu rows in batches of %.2f\n", static_cast<unsigned long long>(counts.examples.sum),
              static_cast<double>(counts.examples.sum) / batches);
}

}  // namespace

int main(int count, char** arguments) {
  const std::string port = count > 1 ? arguments[1] : "0";
  const std::size_t threads = count > 2 ? std::strtoul(arguments[2], nullptr, 10) : 0;
  const SteadyClock clock;
  const grpc_edge::ServedVersion version = served(clock);
  Runners runners(threads, clock);
  Watch watch;
  if (threads > 0) {
    runners.run(*version.queue);
    watch.over(version.queue);
  }
  version.queue->open();
  grpc_edge::Listening listening;
  listening.address = "127.0.0.1:" + port;
  const auto resolve = [&version](std::string_view model, std::string_view) {
    return model == version.model ? &version : nullptr;
  };
  std::vector<VersionPtr> own;
  if (threads == 0) own.push_back(version.queue);
  grpc_edge::InferServer server(listening, clock, resolve, own);
  std::printf("listening on %d\n", server.port());
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  server.stop(std::chrono::seconds(5));
  version.queue->close();
  print(version.queue->ledger().read());
  return 0;
}
