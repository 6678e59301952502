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

// ERROR is the library's own default, and the command line's.
bool is_asked() {
  const char* verbosity = std::getenv("GRPC_VERBOSITY");
  const std::string_view asked(verbosity == nullptr ? "" : verbosity);
  return asked == "INFO" || asked == "DEBUG" || asked == "info" || asked == "debug";
}

void write(gpr_log_func_args* said) {
  const std::string_view words(said->message);
  const bool is_end = words.substr(0, kLastWords.size()) == kLastWords;
  static const bool is_wanted = is_asked();
  if (!is_end && !is_wanted) return;
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
