#include "grpc_edge/library_log.h"

#include <grpc/support/log.h>

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace seqserve::grpc_edge {

namespace {

constexpr std::size_t kMostCharacters = 300;
constexpr std::string_view kLastWords = "assertion failed";

bool is_asked() {
  static const bool is_set = std::getenv("GRPC_VERBOSITY") != nullptr;
  return is_set;
}

void write(gpr_log_func_args* said) {
  const std::string_view words(said->message);
  const bool is_end = words.substr(0, kLastWords.size()) == kLastWords;
  if (!is_end && !is_asked()) return;
  std::fprintf(stderr, "gRPC: %s\n", printable(words).c_str());
}

}  // namespace

void tame_library_log() { gpr_set_log_function(&write); }

std::string printable(std::string_view words) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string line;
  for (const unsigned char character : words) {
    if (line.size() >= kMostCharacters) return line + "...";
    if (character < 0x80 && std::isprint(character)) {
      line += static_cast<char>(character);
    } else {
      line += {'\\', 'x', kDigits[character >> 4], kDigits[character & 15]};
    }
  }
  return line;
}

}  // namespace seqserve::grpc_edge
