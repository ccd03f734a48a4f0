// SPDX-License-Identifier: PostgreSQL
#pragma once

// What this process costs, as the kernel counts it.

#include "output/view.h"

void process_read(struct view_process *ret); // but for its start; what cannot be read is -1
