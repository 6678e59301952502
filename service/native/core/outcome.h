// What becomes of a request: refused at the door, or admitted and then ended, once.
#pragma once

#include <cstddef>
#include <exception>
#include <functional>
#include <vector>

#include "core/clock.h"

namespace seqserve {

// full: the queue; deadline: the queue would miss it; expired: it had passed; overdue: the version's batch
// hangs; away: what runs the model is; closing: nothing new is taken.
enum class Refusal { full, deadline, expired, overdue, away, closing };

inline constexpr std::size_t kRefusals = 6;

// A guess where nothing was measured yet.
inline constexpr Time kRetryGuess = std::chrono::seconds(1);

// waiting_rows: when it was refused. retry_after: for `full` and `deadline`, how long the queue takes.
// memory_bytes: that a version's rows may take, where they have taken it and `full` is not the queue; 0 otherwise.
struct Refused {
  Refusal reason;
  std::size_t waiting_rows = 0;
  Time retry_after = kRetryGuess;
  std::size_t memory_bytes = 0;
};

// overdue: the engine took too long for its batch; stuck: it waited behind such a batch; away: the engine
// went away while it waited; closing: the version was aborted.
enum class Ending { answered, engine_failed, expired, overdue, stuck, away, closing };

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
// failure: what the engine threw where it failed; null otherwise.
struct Outcome {
  Ending ending;
  std::vector<Rows> parts;
  Receipt receipt;
  std::exception_ptr failure;
};

// Called once, on whatever thread brings the news, with no lock held. Must not throw.
using Completion = std::function<void(const Outcome&)>;

}  // namespace seqserve
