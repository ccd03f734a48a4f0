// SPDX-License-Identifier: PostgreSQL
#include "support/oom.h"

#include <errno.h>
#include <stdlib.h>

#include "support/check.h"

#define OOM_MAX_ALLOCATIONS 100000 // a sweep that needs more runs for ever

static unsigned oom_countdown; // 0: not armed
static bool oom_libc_too;
static bool oom_fired;
static size_t oom_live;

void oom_arm(unsigned n) {
    oom_fired = false;
    oom_libc_too = false;
    oom_countdown = n;
}

void oom_arm_libc(unsigned n) {
    oom_arm(n);
    oom_libc_too = true;
}

bool oom_disarm(void) {
    oom_countdown = 0;
    return oom_fired;
}

size_t oom_n_live(void) {
    return oom_live;
}

// `in_allocator`: asked by malloc() itself, and not on the way to it.
static bool oom_fails(bool in_allocator) {
    if (oom_countdown == 0 || in_allocator != oom_libc_too || --oom_countdown > 0) {
        return false;
    }
    oom_fired = true;
    errno = ENOMEM;
    return true;
}

// The linker turns calls of malloc() in our code into calls of __wrap_malloc(), and __real_malloc() into the true one.
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);

void *__wrap_malloc(size_t n) {
    return oom_fails(false) ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size) {
    return oom_fails(false) ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n) {
    return oom_fails(false) ? NULL : __real_realloc(p, n);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size) {
    return oom_fails(false) ? NULL : __real_reallocarray(p, n, size);
}

char *__wrap_strdup(const char *s) {
    return oom_fails(false) ? NULL : __real_strdup(s);
}

char *__wrap_strndup(const char *s, size_t n) {
    return oom_fails(false) ? NULL : __real_strndup(s, n);
}

#ifndef OOM_FOREIGN_ALLOCATOR

// glibc's allocator under its second names. It lets a program bring malloc() along and calls that one itself.
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void __libc_free(void *p);

void *malloc(size_t n) {
    void *p = oom_fails(true) ? NULL : __libc_malloc(n);
    oom_live += p != NULL;
    return p;
}

void *calloc(size_t n, size_t size) {
    void *p = oom_fails(true) ? NULL : __libc_calloc(n, size);
    oom_live += p != NULL;
    return p;
}

void *realloc(void *p, size_t n) {
    if (oom_fails(true)) {
        return NULL;
    }
    void *q = __libc_realloc(p, n);
    if (!p) {
        oom_live += q != NULL;
    } else if (!q && n == 0) {
        oom_live--; // glibc frees then
    }
    return q;
}

void free(void *p) {
    oom_live -= p != NULL;
    __libc_free(p);
}

#endif

void oom_sweep(int (*fn)(void *userdata), void *userdata) {
    for (unsigned n = 1; n <= OOM_MAX_ALLOCATIONS; n++) {
        size_t before = oom_n_live();
        oom_arm(n);
        int r = fn(userdata);
        bool fired = oom_disarm();
        check_context("allocation %u failing", n);
        CHECK_EQ(r, fired ? -ENOMEM : 0);
        CHECK_EQ(oom_n_live(), before);
        if (!fired) {
            CHECK_GT(n, 1u); // or there was nothing to sweep
            return;
        }
    }
    CHECK_FAIL("still failing after %d allocations", OOM_MAX_ALLOCATIONS);
}
