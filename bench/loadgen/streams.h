// ModelStreamInfer: streams that are kept full.
#pragma once

#include "channels.h"
#include "load.h"
#include "tally.h"

// So many messages in flight on each stream, until the tally is over and the last replies are there. A reply
// is taken for the oldest message that waits. One that carries an error counts as UNKNOWN.
void RunStreams(const Stubs& stubs, int streams, int in_flight, Load* load, Tally* tally);
