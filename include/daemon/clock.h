// SPDX-License-Identifier: PostgreSQL
#pragma once

#include "util/usec.h"

usec_t clock_monotonic(void);
usec_t clock_realtime(void); // microseconds since 1970 UTC
