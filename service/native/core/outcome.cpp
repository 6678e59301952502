#include "core/outcome.h"

namespace seqserve {

const char* name(Refusal reason) {
  switch (reason) {
    case Refusal::full: return "full";
    case Refusal::deadline: return "deadline";
    case Refusal::expired: return "expired";
    case Refusal::overdue: return "overdue";
    case Refusal::away: return "away";
    case Refusal::closing: return "closing";
  }
  return "unknown";
}

const char* name(Ending ending) {
  switch (ending) {
    case Ending::answered: return "answered";
    case Ending::engine_failed: return "engine_failed";
    case Ending::expired: return "expired";
    case Ending::overdue: return "overdue";
    case Ending::stuck: return "stuck";
    case Ending::away: return "away";
    case Ending::closing: return "closing";
  }
  return "unknown";
}

}  // namespace seqserve
