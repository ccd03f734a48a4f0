// SPDX-License-Identifier: PostgreSQL
#pragma once

// File descriptors: -1 is "none"; all are close-on-exec.

#include <stddef.h>

#include "util/macro.h"

int fd_close(int fd);    // keeps errno, ignores negative fds; always returns -1, so that `fd = fd_close(fd)` reads well
void fd_closep(int *fd); // for CLEANUP()

// Writes all n bytes, waiting as long as it takes. 0 or -errno.
int fd_write_all(int fd, const void *bytes, size_t n) MUST_CHECK;

// Reads a whole file of at most max bytes (-EFBIG beyond) into a NUL-terminated buffer that the caller frees.
// The writer of a pipe is waited for two seconds in all, then -ETIMEDOUT.
int fd_read_file(const char *path, size_t max, char **ret, size_t *ret_len) MUST_CHECK;
