#include "report.h"

#include <grpcpp/grpcpp.h>

#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <vector>

namespace {

constexpr int kLeastHttpStatus = 100;

std::string NameOf(int code) {
  static const char* const names[] = {
      "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
      "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
      "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"};
  if (code >= kLeastHttpStatus) return "HTTP_" + std::to_string(code);
  return code >= 0 && code <= grpc::StatusCode::UNAUTHENTICATED ? names[code] : "UNKNOWN";
}

double Microseconds(uint64_t nanoseconds) { return static_cast<double>(nanoseconds) / 1e3; }

void PrintCode(const char* separator, int code, const Histogram& latency) {
  std::printf("%s\"%s\": {\"count\": %llu, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f}",
              separator, NameOf(code).c_str(), static_cast<unsigned long long>(latency.count()),
              Microseconds(latency.Quantile(0.5)), Microseconds(latency.Quantile(0.99)),
              Microseconds(latency.Quantile(0.999)), Microseconds(latency.max()));
}

void PrintCodes(const Tally& tally) {
  const char* separator = "";
  for (const auto& [code, latency] : tally.latencies()) {
    PrintCode(separator, code, latency);
    separator = ", ";
  }
}

uint64_t Requests(const Tally& tally) {
  uint64_t requests = 0;
  for (const auto& [code, latency] : tally.latencies()) requests += latency.count();
  return requests;
}

}  // namespace

void Print(const Tally& tally, double seconds) {
  for (const auto& [code, message] : tally.messages()) {
    std::fprintf(stderr, "%s: %s\n", NameOf(code).c_str(), message.c_str());
  }
  const auto answered = static_cast<double>(tally.latencies().at(Tally::kOk).count());
  std::printf("{\"requests\": %llu, \"seconds\": %.3f, \"throughput\": %.1f, \"codes\": {",
              static_cast<unsigned long long>(Requests(tally)), seconds, answered / seconds);
  PrintCodes(tally);
  std::printf("}, \"unanswered\": %llu, \"late_p99_us\": %.1f, \"cpu_share\": %.3f, \"grpc\": \"%s\"}\n",
              static_cast<unsigned long long>(tally.unanswered()), Microseconds(tally.lateness().Quantile(0.99)),
              tally.CpuShare(), grpc::Version().c_str());
}

void WriteReply(const grpc::ByteBuffer& reply, const std::string& path) {
  std::vector<grpc::Slice> slices;
  if (!reply.Valid() || !reply.Dump(&slices).ok()) throw std::runtime_error("no good reply for " + path);
  std::ofstream file(path, std::ios::binary);
  for (const auto& slice : slices) {
    file.write(reinterpret_cast<const char*>(slice.begin()), static_cast<std::streamsize>(slice.size()));
  }
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}
