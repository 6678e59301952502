#include "core/outcome.h"

namespace seqserve {

const char* name(Refusal reason) {
  switch (reason) {
    case Refusal::overloaded: return "overloaded";
    case Refusal::expired: return "expired";
    case Refusal::not_ready: return "not_ready";
    case Refusal::shutting_down: return "shutting_down";
  }
  return "unknown";
}

const char* name(Ending ending) {
  switch (ending) {
    case Ending::answered: return "answered";
    case Ending::engine_failed: return "engine_failed";
    case Ending::expired: return "expired";
    case Ending::overdue: return "overdue";
    case Ending::not_ready: return "not_ready";
    case Ending::shutting_down: return "shutting_down";
  }
  return "unknown";
}

}  // namespace seqserve
