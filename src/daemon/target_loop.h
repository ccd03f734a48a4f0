// SPDX-License-Identifier: PostgreSQL
#pragma once

// What wakes a target, and what it waits for: from here on it runs by itself.

#include "target_state.h"

int target_attach(struct target *target);  // 0 or -ENOMEM: detach it then
void target_detach(struct target *target); // half-attached too
