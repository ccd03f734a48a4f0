// SPDX-License-Identifier: PostgreSQL
#include "util/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "util/cleanup.h"

// How long a reader waits for the writer of a pipe that was named as a file, in all: the daemon reads its files on the
// loop.
#define FD_READ_PATIENCE_MSEC 2000
#define FD_READ_CHUNK 4096

int fd_close(int fd) {
    if (fd >= 0) {
        int saved = errno;
        // Not repeated on EINTR: on Linux the descriptor is gone then, and its number may be somebody else's already.
        (void)close(fd);
        errno = saved;
    }
    return -1;
}

void fd_closep(int *fd) {
    *fd = fd_close(*fd);
}

// 0 when ready, -errno, or -ETIMEDOUT. timeout_msec -1: no limit.
static int fd_wait(int fd, short events, int timeout_msec) {
    struct pollfd p = {.fd = fd, .events = events};
    int r = poll(&p, 1, timeout_msec);
    if (r < 0) {
        return errno == EINTR ? 0 : -errno;
    }
    return r == 0 ? -ETIMEDOUT : 0;
}

int fd_write_all(int fd, const void *bytes, size_t n) {
    const char *p = bytes;
    while (n > 0) {
        ssize_t written = write(fd, p, n);
        if (written >= 0) {
            p += written;
            n -= (size_t)written;
            continue;
        }
        if (errno == EAGAIN) {
            int r = fd_wait(fd, POLLOUT, -1);
            if (r < 0) {
                return r;
            }
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

static int64_t fd_now_msec(void) {
    struct timespec ts = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

// Reads until the end, at most max + 1 bytes, growing *buffer.
static int fd_read_all(int fd, size_t max, char **buffer, size_t *ret_len) {
    const int64_t deadline = fd_now_msec() + FD_READ_PATIENCE_MSEC;
    size_t len = 0, capacity = 0;
    for (;;) {
        if (capacity - len < 2) {
            size_t larger = MAX((size_t)FD_READ_CHUNK, capacity * 2);
            char *p = realloc(*buffer, larger);
            if (!p) {
                return -ENOMEM;
            }
            *buffer = p;
            capacity = larger;
        }
        ssize_t n = read(fd, *buffer + len, capacity - len - 1);
        if (n > 0) {
            len += (size_t)n;
            if (len > max) {
                return -EFBIG;
            }
        } else if (n == 0) {
            break;
        } else if (errno == EAGAIN) {
            int64_t left = deadline - fd_now_msec();
            int r = left > 0 ? fd_wait(fd, POLLIN, (int)left) : -ETIMEDOUT;
            if (r < 0) {
                return r;
            }
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    (*buffer)[len] = '\0';
    *ret_len = len;
    return 0;
}

int fd_read_file(const char *path, size_t max, char **ret, size_t *ret_len) {
    // Not blocking: the open of a FIFO without a writer would wait for ever.
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        return -errno;
    }
    CLEANUP(freep) char *buffer = NULL;
    size_t len;
    int r = fd_read_all(fd, max, &buffer, &len);
    if (r < 0) {
        return r;
    }
    *ret = TAKE_PTR(buffer);
    *ret_len = len;
    return 0;
}
