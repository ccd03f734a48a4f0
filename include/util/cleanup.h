// SPDX-License-Identifier: PostgreSQL
#pragma once

// Scope-bound release. A function uses these or goto, never both.
//
//   CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
//   CLEANUP(policy_unrefp) struct policy *policy = NULL;   // after DEFINE_CLEANUP(struct policy *, policy_unref)
//   *ret = TAKE_PTR(policy);                               // hand over: the variable is NULL afterwards

#include <stdlib.h>

#define CLEANUP(fn) __attribute__((__cleanup__(fn)))

#define TAKE_PTR(p)                                                                                                    \
    __extension__({                                                                                                    \
        __typeof__(p) *take_ptr_ = &(p);                                                                               \
        __typeof__(p) take_value_ = *take_ptr_;                                                                        \
        *take_ptr_ = NULL;                                                                                             \
        take_value_;                                                                                                   \
    })

// Defines fn##p(type *), which calls fn on a non-NULL variable of the (pointer) type.
#define DEFINE_CLEANUP(type, fn)                                                                                       \
    static inline void fn##p(type *p) {                                                                                \
        if (*p) {                                                                                                      \
            (void)fn(*p);                                                                                              \
        }                                                                                                              \
    }

// For char * and other malloc'ed memory.
static inline void freep(void *p) {
    free(*(void **)p);
}
