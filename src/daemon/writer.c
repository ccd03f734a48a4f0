// SPDX-License-Identifier: PostgreSQL
//
// One queue, worked off in order, so that two counters (tickets given, tickets done) and a ring of outcomes tell all.
// What both threads touch is guarded by the mutex; fd and event_fd never change.
//
// The end: the owner asks the thread to stop (`is_stopping`: it writes what waits, then leaves) and joins it. A thread
// that is stuck is told so (`is_abandoned`) and detached; from then on everything here belongs to it, and it frees it
// if its call ever returns.

#define SD_JOURNAL_SUPPRESS_LOCATION // or each record would name this file and line
#include "writer.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <time.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "thread.h"
#include "util/fd.h"

// A record in the queue is still told from those of the ring.
static_assert(WRITER_MAX_RECORDS <= WRITER_N_TICKETS, "no ticket is forgotten while it waits");

struct writer_record {
    struct writer_record *next;
    size_t size; // of this allocation
    size_t n_bytes;
    size_t n_fields;
    struct journal_field fields[]; // n_fields, then n_bytes bytes
};

struct writer {
    pthread_t thread;
    int fd; // owned; -1: the journal
    int event_fd;
    bool is_torn; // the thread's own: the file ends in a part of a record

    pthread_mutex_t mutex;
    pthread_cond_t work;     // there is a record, or is_stopping was set
    pthread_cond_t progress; // a record is done, or has_left was set
    struct writer_record *first, **end;
    size_t n_bytes;           // size of all records
    uint64_t n_given, n_done; // tickets
    uint64_t n_failed;
    bool is_failed[WRITER_N_TICKETS];
    bool is_signalled; // event_fd is readable
    bool is_stopping;
    bool is_abandoned;
    bool has_left;
};

static char *writer_record_bytes(struct writer_record *record) {
    return (char *)(record->fields + record->n_fields);
}

static void writer_destroy(struct writer *writer) {
    for (struct writer_record *record = writer->first; record;) {
        struct writer_record *next = record->next;
        free(record);
        record = next;
    }
    (void)pthread_cond_destroy(&writer->progress);
    (void)pthread_cond_destroy(&writer->work);
    (void)pthread_mutex_destroy(&writer->mutex);
    fd_close(writer->event_fd);
    fd_close(writer->fd);
    free(writer);
}

// Adds to *written. A non-blocking descriptor (it may be shared with somebody who made it so) is waited for.
static int writer_write(int fd, const char *bytes, size_t n, size_t *written) {
    for (size_t done = 0; done < n;) {
        ssize_t k = write(fd, bytes + done, n - done);
        if (k > 0) {
            done += (size_t)k;
            *written += (size_t)k;
        } else if (k == 0) {
            return -EIO;
        } else if (errno == EAGAIN) {
            struct pollfd pollfd = {.fd = fd, .events = POLLOUT};
            if (poll(&pollfd, 1, -1) < 0 && errno != EINTR) {
                return -errno;
            }
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

static int writer_write_line(struct writer *writer, struct writer_record *record) {
    size_t written = 0;
    if (writer->is_torn) { // what follows a part of a line must not become part of it
        int r = writer_write(writer->fd, "\n", 1, &written);
        if (r < 0) {
            return r;
        }
        writer->is_torn = false;
        written = 0;
    }
    int r = writer_write(writer->fd, writer_record_bytes(record), record->n_bytes, &written);
    writer->is_torn = r < 0 && written > 0;
    return r;
}

static int writer_send_journal(struct writer_record *record) {
    // Without the socket sd_journal_sendv() drops the entry and says that all is well.
    if (access(WRITER_JOURNAL_SOCKET, F_OK) < 0) {
        return -errno;
    }
    struct iovec iov[JOURNAL_MAX_FIELDS];
    for (size_t i = 0; i < record->n_fields; i++) {
        iov[i] = (struct iovec){
            .iov_base = writer_record_bytes(record) + record->fields[i].at,
            .iov_len = record->fields[i].len,
        };
    }
    return sd_journal_sendv(iov, (int)record->n_fields);
}

static void writer_signal(struct writer *writer) {
    if (!writer->is_signalled) {
        writer->is_signalled = true;
        (void)eventfd_write(writer->event_fd, 1);
    }
}

// Takes the first record off the queue. The caller frees it.
static void writer_finish_first(struct writer *writer, bool failed) {
    struct writer_record *record = writer->first;
    writer->first = record->next;
    if (!writer->first) {
        writer->end = &writer->first;
    }
    writer->n_bytes -= record->size;
    writer->n_done++;
    writer->n_failed += failed;
    writer->is_failed[writer->n_done % WRITER_N_TICKETS] = failed;
    writer_signal(writer);
    (void)pthread_cond_broadcast(&writer->progress);
}

static void *writer_main(void *userdata) {
    struct writer *writer = userdata;
    (void)pthread_mutex_lock(&writer->mutex);
    for (;;) {
        while (!writer->first && !writer->is_stopping) {
            (void)pthread_cond_wait(&writer->work, &writer->mutex);
        }
        // It stays in the queue while it is written: it still waits, and counts.
        struct writer_record *record = writer->first;
        if (!record || writer->is_abandoned) {
            break;
        }
        (void)pthread_mutex_unlock(&writer->mutex);
        int r = writer->fd >= 0 ? writer_write_line(writer, record) : writer_send_journal(record);
        (void)pthread_mutex_lock(&writer->mutex);
        writer_finish_first(writer, r < 0);
        free(record);
    }
    bool is_abandoned = writer->is_abandoned;
    writer->has_left = true;
    (void)pthread_cond_broadcast(&writer->progress);
    (void)pthread_mutex_unlock(&writer->mutex);
    if (is_abandoned) {
        writer_destroy(writer);
    }
    return NULL;
}

static int writer_init_locks(struct writer *writer) {
    pthread_condattr_t monotonic;
    int r = pthread_condattr_init(&monotonic);
    if (r > 0) {
        return -r;
    }
    // None of these allocates or fails in glibc once the attribute is there; a failure would be a mistake of ours.
    r = pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    assert(r == 0);
    r = pthread_cond_init(&writer->work, &monotonic);
    assert(r == 0);
    r = pthread_cond_init(&writer->progress, &monotonic);
    assert(r == 0);
    r = pthread_mutex_init(&writer->mutex, NULL);
    assert(r == 0);
    (void)pthread_condattr_destroy(&monotonic);
    return 0;
}

static int writer_open(struct writer *writer, int fd) {
    if (fd >= 0) {
        // A copy: a thread left behind must never write into what later gets the caller's number.
        writer->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (writer->fd < 0) {
            return -errno;
        }
    }
    writer->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return writer->event_fd < 0 ? -errno : 0;
}

int writer_new(int fd, struct writer **ret) {
    struct writer *writer = calloc(1, sizeof *writer);
    if (!writer) {
        return -ENOMEM;
    }
    writer->fd = writer->event_fd = -1;
    writer->end = &writer->first;
    int r = writer_init_locks(writer);
    if (r < 0) {
        free(writer);
        return r;
    }
    r = writer_open(writer, fd);
    if (r == 0) {
        r = thread_start(&writer->thread, writer_main, writer);
    }
    if (r < 0) {
        writer_destroy(writer);
        return r;
    }
    *ret = writer;
    return 0;
}

// Waits for progress, with the mutex held. false: the deadline has passed.
static bool writer_wait(struct writer *writer, usec_t deadline) {
    if (deadline == USEC_INFINITY) {
        (void)pthread_cond_wait(&writer->progress, &writer->mutex);
        return true;
    }
    struct timespec ts = {
        .tv_sec = (time_t)(deadline / USEC_PER_SEC),
        .tv_nsec = (long)(deadline % USEC_PER_SEC) * 1000,
    };
    return pthread_cond_timedwait(&writer->progress, &writer->mutex, &ts) == 0;
}

struct writer *writer_free(struct writer *writer, usec_t timeout) {
    if (!writer) {
        return NULL;
    }
    usec_t deadline = usec_add(clock_monotonic(), timeout);
    (void)pthread_mutex_lock(&writer->mutex);
    writer->is_stopping = true;
    (void)pthread_cond_signal(&writer->work);
    while (!writer->has_left && writer_wait(writer, deadline)) {
    }
    if (!writer->has_left) {
        writer->is_abandoned = true;
        (void)pthread_detach(writer->thread);
        (void)pthread_mutex_unlock(&writer->mutex);
        return NULL;
    }
    (void)pthread_mutex_unlock(&writer->mutex);
    (void)pthread_join(writer->thread, NULL);
    writer_destroy(writer);
    return NULL;
}

static struct writer_record *writer_record_new(const char *bytes, size_t n_bytes, const struct journal_field *fields,
                                               size_t n_fields) {
    size_t size = sizeof(struct writer_record) + n_fields * sizeof *fields + n_bytes;
    struct writer_record *record = malloc(size);
    if (!record) {
        return NULL;
    }
    *record = (struct writer_record){.size = size, .n_bytes = n_bytes, .n_fields = n_fields};
    if (n_fields > 0) {
        memcpy(record->fields, fields, n_fields * sizeof *fields);
    }
    if (n_bytes > 0) {
        memcpy(writer_record_bytes(record), bytes, n_bytes);
    }
    return record;
}

uint64_t writer_push(struct writer *writer, const char *bytes, size_t n_bytes, const struct journal_field *fields,
                     size_t n_fields) {
    assert(n_fields <= JOURNAL_MAX_FIELDS);
    if (n_bytes > WRITER_MAX_BYTES) {
        return 0;
    }
    struct writer_record *record = writer_record_new(bytes, n_bytes, fields, n_fields);
    if (!record) {
        return 0;
    }
    uint64_t ticket = 0;
    (void)pthread_mutex_lock(&writer->mutex);
    if (writer->n_given - writer->n_done < WRITER_MAX_RECORDS && writer->n_bytes + record->size <= WRITER_MAX_BYTES) {
        *writer->end = record;
        writer->end = &record->next;
        writer->n_bytes += record->size;
        record = NULL;
        ticket = ++writer->n_given;
        (void)pthread_cond_signal(&writer->work);
    }
    (void)pthread_mutex_unlock(&writer->mutex);
    free(record);
    return ticket;
}

enum writer_state writer_ticket_state(struct writer *writer, uint64_t ticket) {
    enum writer_state state;
    (void)pthread_mutex_lock(&writer->mutex);
    if (ticket == 0 || ticket > writer->n_given || writer->n_given - ticket >= WRITER_N_TICKETS) {
        state = WRITER_FAILED;
    } else if (ticket > writer->n_done) {
        state = WRITER_PENDING;
    } else {
        state = writer->is_failed[ticket % WRITER_N_TICKETS] ? WRITER_FAILED : WRITER_WRITTEN;
    }
    (void)pthread_mutex_unlock(&writer->mutex);
    return state;
}

int writer_fd(const struct writer *writer) {
    return writer->event_fd;
}

void writer_acknowledge(struct writer *writer) {
    (void)pthread_mutex_lock(&writer->mutex);
    if (writer->is_signalled) {
        eventfd_t value;
        (void)eventfd_read(writer->event_fd, &value);
        writer->is_signalled = false;
    }
    (void)pthread_mutex_unlock(&writer->mutex);
}

bool writer_has_room(struct writer *writer) {
    (void)pthread_mutex_lock(&writer->mutex);
    bool has_room = writer->n_given - writer->n_done < WRITER_MAX_RECORDS / 2 &&
                    writer->n_bytes < WRITER_MAX_BYTES / 2 && !writer->is_failed[writer->n_done % WRITER_N_TICKETS];
    (void)pthread_mutex_unlock(&writer->mutex);
    return has_room;
}

bool writer_has_spare(struct writer *writer) {
    (void)pthread_mutex_lock(&writer->mutex);
    bool has_spare =
        writer->n_given - writer->n_done < WRITER_MAX_RECORDS / 4 * 3 && writer->n_bytes < WRITER_MAX_BYTES / 4 * 3;
    (void)pthread_mutex_unlock(&writer->mutex);
    return has_spare;
}

uint64_t writer_n_failed(struct writer *writer) {
    (void)pthread_mutex_lock(&writer->mutex);
    uint64_t n_failed = writer->n_failed;
    (void)pthread_mutex_unlock(&writer->mutex);
    return n_failed;
}

bool writer_flush(struct writer *writer, usec_t timeout) {
    usec_t deadline = usec_add(clock_monotonic(), timeout);
    (void)pthread_mutex_lock(&writer->mutex);
    while (writer->n_done < writer->n_given && writer_wait(writer, deadline)) {
    }
    bool is_drained = writer->n_done == writer->n_given;
    (void)pthread_mutex_unlock(&writer->mutex);
    return is_drained;
}
