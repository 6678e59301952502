// Parameters of a request: which of them the hot path may pass over, and the one that it knows.
#pragma once

#include <cstdint>

#include "wire/fields.h"

namespace seqserve::wire {

// One entry of map<string, InferParameter>. Unknown names are passed over, as the contract says; `timeout`
// is read, where a place for it is given; names that would change what a request means are for elsewhere.
Verdict read_parameter(Bytes entry, std::int64_t* timeout_microseconds);

}  // namespace seqserve::wire
