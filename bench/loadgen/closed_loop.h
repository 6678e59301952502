// Callers who each ask again as soon as they have their answer.
#pragma once

#include "channels.h"
#include "load.h"
#include "tally.h"

// Until the tally is over and the last answers are there.
void RunClosedLoop(const Stubs& stubs, int callers, Load* load, Tally* tally);
