// The native front with an engine that is none: what the front alone can do. Stops at the end of its input.
//
//   fake_server PORT [thread]      ModelInfer of `fake`, FP32 image [n,784] to probabilities [n,10]
//
// thread: hands every batch to a thread; by default the server's own runs what is quick.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/runners.h"
#include "core/watch.h"
#include "grpc_edge/handle.h"
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

// Nobody is elsewhere.
class Nobody final : public grpc_edge::Elsewhere {
 public:
  void called(std::shared_ptr<grpc_edge::CallHandle> call, grpc_edge::Envelope, std::optional<grpc::ByteBuffer>) override {
    // On the server's thread, and not under the call's lock.
    call->tell(&grpc_edge::Answerable::finish, int{grpc::StatusCode::UNIMPLEMENTED}, std::string(kNotServed),
               grpc_edge::Pairs{});
  }
  void message(std::uint64_t, std::optional<grpc::ByteBuffer>) override {}
  void written(std::uint64_t, bool) override {}
  void over(std::uint64_t, bool) override {}
  void streamed(std::shared_ptr<grpc_edge::StreamHandle>, grpc_edge::Envelope, std::uint64_t, grpc::ByteBuffer) override {}
  void internal(grpc_edge::InternalEnd) override {}

 private:
  static constexpr char kNotServed[] = "not served by this front";
};

grpc_edge::ServedPtr served(const Clock& clock) {
  Limits limits;
  limits.max_batch_rows = 64;
  const VersionPtr queue = Version::make({kInputs, kOutputs}, limits, engine, clock);
  grpc_edge::ServedVersion version;
  version.model = "fake";
  version.number = "1";
  version.queue = queue;
  version.ledger = std::make_shared<grpc_edge::RequestLedger>(std::vector<std::uint64_t>{1'000'000, 10'000'000});
  version.output_name = "probabilities";
  version.output_shape = {10};
  version.input.name = "image";
  version.input.shapes = {{{784}, true}, {{28, 28}, true}};
  version.input.minimum = 0.0F;
  version.input.maximum = 1.0F;
  return std::make_shared<grpc_edge::ServedVersion>(std::move(version));
}

void print(const BatchSnapshot& counts) {
  const double batches = static_cast<double>(std::max<std::uint64_t>(counts.batches(), 1));
  std::printf("computed %llu rows in batches of %.2f\n", static_cast<unsigned long long>(counts.examples.sum),
              static_cast<double>(counts.examples.sum) / batches);
}

}  // namespace

int main(int count, char** arguments) {
  const std::string port = count > 1 ? arguments[1] : "0";
  const bool is_handed_over = count > 2 && std::string_view(arguments[2]) == "thread";
  const SteadyClock clock;
  const grpc_edge::ServedPtr version = served(clock);
  Runners runners(1, clock);
  Watch watch;
  if (!is_handed_over) version->queue->run_anywhere();
  runners.run(*version->queue);
  watch.over(version->queue);
  version->queue->open();
  Nobody nobody;
  grpc_edge::InferServer server(grpc_edge::CallLimits{}, clock, nobody, runners);
  server.route({{version->model, "", version}, {version->model, version->number, version}});
  grpc_edge::Listening listening;
  listening.address = "127.0.0.1:" + port;
  std::printf("listening on %d\n", server.listen(listening));
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  server.stop(std::chrono::seconds(5));
  version->queue->close();
  print(version->queue->ledger().read());
  return 0;
}
