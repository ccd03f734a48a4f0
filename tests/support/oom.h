// SPDX-License-Identifier: PostgreSQL
#pragma once

// Allocations that fail on request, for single-threaded test programs.

#include <stdbool.h>
#include <stddef.h>

// The n-th allocation of our code from now on (1: the next) fails; others succeed.
void oom_arm(unsigned n);
// The same, with those that libc makes for itself counted too (regexec(), but not regcomp(): glibc's loses or frees
// blocks twice when it runs out of memory). Never fires under AddressSanitizer and valgrind.
void oom_arm_libc(unsigned n);
bool oom_disarm(void); // true: one has failed

// Memory blocks in use; a constant under AddressSanitizer and valgrind, which find leaks by themselves.
size_t oom_n_live(void);

// Calls fn with the 1st, 2nd, ... allocation failing, until a call meets no failure any more. A call that met one must
// return -ENOMEM, the last one 0, and none may leave memory behind.
void oom_sweep(int (*fn)(void *userdata), void *userdata);
