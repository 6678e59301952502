// Requests at a given rate, whether or not earlier ones have been answered.
#pragma once

#include "channels.h"
#include "load.h"
#include "tally.h"

// Evenly spaced, one at a time. Latency begins when a request was due, so a generator or a server that falls
// behind cannot hide it. What has no answer at the end is counted as such and cancelled.
void RunOpenLoop(const Stubs& stubs, double rate, Load* load, Tally* tally);
