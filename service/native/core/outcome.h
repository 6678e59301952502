// What becomes of a request: refused at the door, or admitted and then ended, once.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "core/clock.h"

namespace seqserve {

enum class Refusal { overloaded, expired, not_ready, shutting_down };

inline constexpr std::size_t kRefusals = 4;

// retry_after: when the queue is expected to have room; 0 where nobody knows.
struct Refused {
  Refusal reason;
  Time retry_after{0};
};

// overdue: the engine took too long; not_ready: it went away while the request waited.
enum class Ending { answered, engine_failed, expired, overdue, not_ready, shutting_down };

inline constexpr std::size_t kEndings = 6;

const char* name(Refusal reason);
const char* name(Ending ending);

// Rows [count, output width], in a staging buffer.
struct Rows {
  const float* numbers;
  std::size_t count;
};

// A request that travelled in several batches reports its longest wait and all of its computing.
struct Receipt {
  Time queued{0};
  Time computed{0};
  std::size_t batch_rows = 0;
};

// parts: the rows in the order of the request, valid until the callback returns; none unless answered.
// message: the engine's words where it failed.
struct Outcome {
  Ending ending;
  std::vector<Rows> parts;
  Receipt receipt;
  std::string message;
};

// Called once, on whatever thread brings the news, with no lock held. Must not throw.
using Completion = std::function<void(const Outcome&)>;

}  // namespace seqserve
