// SPDX-License-Identifier: PostgreSQL
#pragma once

// uthash, told to leave an element out instead of ending the process when memory is short: after HASH_ADD the element's
// hh.tbl is NULL then.

#define HASH_NONFATAL_OOM 1
#include <uthash.h>
