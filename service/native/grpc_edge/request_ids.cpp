#include "grpc_edge/request_ids.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <random>

namespace seqserve::grpc_edge {

namespace {

constexpr std::size_t kLongest = 64;
constexpr std::size_t kDigits = 16;

bool is_accepted(char letter) {
  return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') || (letter >= '0' && letter <= '9') ||
         letter == '.' || letter == '_' || letter == '-';
}

// A bijection: no two counts look the same. Source: splitmix64, https://prng.di.unimi.it/splitmix64.c
std::uint64_t scatter(std::uint64_t number) {
  number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9U;
  number = (number ^ (number >> 27)) * 0x94d049bb133111ebU;
  return number ^ (number >> 31);
}

void put_hex(std::uint64_t number, char* to) {
  constexpr char kHex[] = "0123456789abcdef";
  for (std::size_t place = kDigits; place-- > 0; number >>= 4) to[place] = kHex[number & 15];
}

}  // namespace

bool is_request_id(std::string_view text) {
  return !text.empty() && text.size() <= kLongest && std::all_of(text.begin(), text.end(), is_accepted);
}

RequestIds::RequestIds() {
  std::random_device random;
  for (std::uint64_t& seed : seeds_) seed = std::uint64_t{random()} << 32 | random();
}

std::string RequestIds::of(const grpc::ServerContext& call) {
  const auto given = call.client_metadata().equal_range(kRequestId);
  if (given.first != given.second) {
    const auto& last = std::prev(given.second)->second;
    if (const std::string_view text(last.data(), last.size()); is_request_id(text)) return std::string(text);
  }
  return next();
}

std::string RequestIds::next() {
  const std::uint64_t count = count_.fetch_add(1, std::memory_order_relaxed);
  std::string id(2 * kDigits, '0');
  put_hex(scatter(seeds_[0] + count), id.data());
  put_hex(scatter(seeds_[1] ^ count), id.data() + kDigits);
  return id;
}

}  // namespace seqserve::grpc_edge
