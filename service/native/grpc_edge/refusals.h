// Outcomes as gRPC's codes; the words are those of the gateway's other fronts.
#pragma once

#include <grpcpp/grpcpp.h>

#include "core/outcome.h"

namespace seqserve::grpc_edge {

grpc::Status status_of(const Refused& refused);
// Of an outcome that is no answer.
grpc::Status status_of(const Outcome& outcome);

}  // namespace seqserve::grpc_edge
