// SPDX-License-Identifier: PostgreSQL
#pragma once

// One string of a selector: a shell glob ("worker-*"), or "/.../" a POSIX extended regular expression ("/.../i" ignores
// case). "" matches the empty name only. A regular expression matches anywhere in the name unless anchored.

#include <stdbool.h>

struct pattern;

#define PATTERN_MAX_LENGTH 1000 // bytes
#define PATTERN_MAX_REPEAT 1000 // product of all {m,n} of a regular expression: each repeat is a copy in memory

// 0, -ENOMEM, or -EINVAL with *ret_why set to a text that the caller frees: an empty or broken regular expression, one
// with back-references (they make matching exponential), or a limit exceeded.
int pattern_new(const char *text, struct pattern **ret, char **ret_why);
struct pattern *pattern_free(struct pattern *pattern);             // NULL-safe, returns NULL
int pattern_matches(const struct pattern *pattern, const char *s); // 1, 0, or -ENOMEM: not known
const char *pattern_text(const struct pattern *pattern);           // as it was written
bool pattern_is_literal(const struct pattern *pattern);            // matches one name only
