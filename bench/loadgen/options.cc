#include "options.h"

#include <functional>
#include <map>
#include <stdexcept>

namespace {

using Setter = std::function<void(const std::string&)>;

Setter Text(std::string* field) {
  return [field](const std::string& value) { *field = value; };
}

Setter Count(int* field) {
  return [field](const std::string& value) { *field = std::stoi(value); };
}

Setter Number(double* field) {
  return [field](const std::string& value) { *field = std::stod(value); };
}

std::map<std::string, Setter> Setters(Options* options) {
  return {
      {"--target", Text(&options->target)},
      {"--method", Text(&options->method)},
      {"--path", Text(&options->path)},
      {"--content-type", Text(&options->content_type)},
      {"--body", Text(&options->body)},
      {"--first-reply", Text(&options->first_reply)},
      {"--last-reply", Text(&options->last_reply)},
      {"--callers", Count(&options->callers)},
      {"--connections", Count(&options->connections)},
      {"--in-flight", Count(&options->in_flight)},
      {"--rate", Number(&options->rate)},
      {"--seconds", Number(&options->seconds)},
      {"--warm-up-seconds", Number(&options->warm_up_seconds)},
      {"--deadline-seconds", Number(&options->deadline_seconds)},
  };
}

void Check(const Options& options) {
  if (options.target.empty() || options.body.empty() || options.method.empty() == options.path.empty()) {
    throw std::invalid_argument("--target, --body, and one of --method and --path are needed");
  }
  if (options.callers < 1 || options.connections < 1 || options.seconds <= 0 || options.deadline_seconds <= 0) {
    throw std::invalid_argument("--callers, --connections, --seconds and --deadline-seconds are above 0");
  }
  if (options.in_flight < 0 || options.rate < 0 || options.warm_up_seconds < 0) {
    throw std::invalid_argument("--in-flight, --rate and --warm-up-seconds are not below 0");
  }
  if (options.rate > 0 && options.in_flight > 0) {
    throw std::invalid_argument("--rate is of unary calls, --in-flight of streams: one of them");
  }
  if (!options.path.empty() && (options.rate > 0 || options.in_flight > 0)) {
    throw std::invalid_argument("--path is of a closed loop: neither --rate nor --in-flight");
  }
}

}  // namespace

Options ReadOptions(int argc, char** argv) {
  Options options;
  const auto setters = Setters(&options);
  for (int at = 1; at < argc; at += 2) {
    const auto setter = setters.find(argv[at]);
    if (setter == setters.end()) throw std::invalid_argument(std::string("no option ") + argv[at]);
    if (at + 1 == argc) throw std::invalid_argument(std::string(argv[at]) + " takes a value");
    try {
      setter->second(argv[at + 1]);
    } catch (const std::logic_error&) {
      throw std::invalid_argument(std::string(argv[at]) + " takes a number, not " + argv[at + 1]);
    }
  }
  Check(options);
  return options;
}
