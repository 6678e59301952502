#include "closed_loop.h"

#include <vector>

#include "call.h"

void RunClosedLoop(const Stubs& stubs, int callers, Load* load, Tally* tally) {
  std::vector<Call> calls(static_cast<size_t>(callers));
  const auto start = [&](Call* call) {
    const auto at = static_cast<size_t>(call - calls.data());
    call->Start(stubs[at % stubs.size()].get(), load, Clock::now());
  };
  for (auto& call : calls) start(&call);
  void* tag;
  bool ok;
  for (int asking = callers; asking > 0 && load->queue.Next(&tag, &ok);) {
    auto* call = static_cast<Call*>(tag);
    call->Record(tally);
    if (tally->Over()) {
      --asking;
    } else {
      start(call);
    }
  }
}
