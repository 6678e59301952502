// What an event of the completion queue stands for: gRPC gives its address back when it has happened.
#pragma once

namespace seqserve::grpc_edge {

struct Event {
  void* owner = nullptr;
  void (*happened)(void* owner, bool ok) = nullptr;

  void happen(bool ok) const { happened(owner, ok); }
};

// An event that calls a method of its owner.
template <auto Method, typename Owner>
Event event_of(Owner* owner) {
  return {owner, [](void* whose, bool ok) { (static_cast<Owner*>(whose)->*Method)(ok); }};
}

}  // namespace seqserve::grpc_edge
