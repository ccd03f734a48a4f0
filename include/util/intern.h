// SPDX-License-Identifier: PostgreSQL
#pragma once

// Reference-counted strings, each stored once, so that equal strings have equal pointers. Freed with the last
// reference: a client that invents a new application name for every connection does not make the process grow.

#include <stddef.h>

struct interner;

struct interner *interner_new(void);                       // NULL: out of memory
struct interner *interner_free(struct interner *interner); // NULL-safe; strings still referenced are freed too

// The one copy of s, with one more reference; NULL: out of memory. Release with intern_unref().
const char *intern_ref(struct interner *interner, const char *s);
void intern_unref(struct interner *interner, const char *s); // NULL-safe; s must come from intern_ref()

size_t interner_count(const struct interner *interner);
