// SPDX-License-Identifier: PostgreSQL

// The protocol is a datagram of lines to a Unix socket. libsystemd's sd_notify() waits when the manager does not read,
// and with it the watch would stand still; so it is sent from here, and what did not go out is owed until the next
// tick.

#include "notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "schedule.h"
#include "util/macro.h"

#define NOTIFY_VARIABLE "NOTIFY_SOCKET"
// So many chances to say that we live before the watchdog bites.
#define NOTIFY_PER_WATCHDOG 4
#define NOTIFY_SHORTEST (50 * USEC_PER_MSEC)

struct notify {
    struct notify_source source;
    int fd; // -1: nobody wants to know
    struct sockaddr_un address;
    socklen_t address_len;
    struct loop_timer *timer;
    usec_t every;
    bool feeds; // a watchdog waits for us
    usec_t ready_by;
    bool is_ready;        // as it was said first
    bool owes_ready;      // it has to be said, again
    struct strbuf status; // as it was said last
};

// False: nobody wants to know, or not in a way that we speak.
static bool notify_find_socket(struct notify *notify) {
    const char *path = getenv(NOTIFY_VARIABLE);
    size_t len = path ? strlen(path) : 0;
    if (len < 2 || len >= sizeof(notify->address.sun_path) || (path[0] != '/' && path[0] != '@')) {
        return false;
    }
    notify->address.sun_family = AF_UNIX;
    memcpy(notify->address.sun_path, path, len + 1);
    if (path[0] == '@') {
        notify->address.sun_path[0] = '\0'; // of the abstract name space: without a NUL at the end
    }
    notify->address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (path[0] == '/' ? 1 : 0));
    notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return notify->fd >= 0;
}

static bool notify_send(struct notify *notify, const struct strbuf *lines) {
    if (strbuf_error(lines) < 0) {
        return false;
    }
    ssize_t n = sendto(notify->fd, strbuf_str(lines), lines->len, MSG_NOSIGNAL | MSG_DONTWAIT,
                       (const struct sockaddr *)&notify->address, notify->address_len);
    return n == (ssize_t)lines->len;
}

// Whatever there is to say, in one datagram.
static void notify_tell(struct notify *notify, usec_t now) {
    CLEANUP(strbuf_deinit) struct strbuf lines = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf status = STRBUF_EMPTY;
    if (notify->owes_ready) {
        strbuf_add(&lines, "READY=1\n");
    }
    notify->source.describe(notify->source.userdata, now, &status);
    bool is_news = strbuf_error(&status) == 0 && strcmp(strbuf_str(&status), strbuf_str(&notify->status)) != 0;
    if (is_news) {
        strbuf_addf(&lines, "STATUS=%s\n", strbuf_str(&status));
    }
    if (notify->feeds && notify->source.is_alive(notify->source.userdata, now)) {
        strbuf_add(&lines, "WATCHDOG=1\n");
    }
    if (lines.len == 0 || !notify_send(notify, &lines)) {
        return;
    }
    notify->owes_ready = false;
    if (is_news) {
        strbuf_deinit(&notify->status);
        notify->status = status;
        status = STRBUF_EMPTY;
    }
}

// True: it has just become ready.
static bool notify_becomes_ready(struct notify *notify, usec_t now) {
    if (notify->is_ready || (now < notify->ready_by && !notify->source.is_ready(notify->source.userdata))) {
        return false;
    }
    notify->is_ready = notify->owes_ready = true;
    return true;
}

static void notify_on_timer(void *userdata, usec_t now) {
    struct notify *notify = userdata;
    loop_timer_set(notify->timer, schedule_next_tick(now, notify->every));
    (void)notify_becomes_ready(notify, now);
    notify_tell(notify, now);
}

struct notify *notify_new(struct loop *loop, const struct notify_source *source) {
    struct notify *notify = calloc(1, sizeof(*notify));
    uint64_t watchdog = 0;
    if (!notify) {
        return NULL;
    }
    *notify = (struct notify){.source = *source, .fd = -1, .every = NOTIFY_EVERY, .ready_by = USEC_INFINITY};
    if (!notify_find_socket(notify)) {
        return notify;
    }
    notify->feeds = sd_watchdog_enabled(0, &watchdog) > 0;
    if (notify->feeds) {
        notify->every = MAX(MIN(watchdog / NOTIFY_PER_WATCHDOG, NOTIFY_EVERY), NOTIFY_SHORTEST);
    }
    notify->timer = loop_timer_new(loop, notify_on_timer, notify);
    return notify->timer ? notify : notify_free(notify);
}

struct notify *notify_free(struct notify *notify) {
    if (notify) {
        (void)loop_timer_free(notify->timer);
        if (notify->fd >= 0) {
            (void)close(notify->fd);
        }
        strbuf_deinit(&notify->status);
        free(notify);
    }
    return NULL;
}

void notify_start(struct notify *notify, usec_t now) {
    if (notify->fd >= 0) {
        notify->ready_by = usec_add(now, NOTIFY_READY_WITHIN);
        loop_timer_set(notify->timer, now);
    }
}

void notify_check(struct notify *notify, usec_t now) {
    if (notify->fd >= 0 && notify_becomes_ready(notify, now)) {
        notify_tell(notify, now);
    }
}

void notify_reloading(struct notify *notify, usec_t now) {
    CLEANUP(strbuf_deinit) struct strbuf lines = STRBUF_EMPTY;
    if (notify->fd < 0 || !notify->is_ready) {
        return; // to the manager we are still starting
    }
    strbuf_addf(&lines, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\n", now);
    (void)notify_send(notify, &lines);
}

void notify_reloaded(struct notify *notify, usec_t now) {
    if (notify->fd >= 0 && notify->is_ready) {
        notify->owes_ready = true;
        notify_tell(notify, now);
    }
}

void notify_stopping(struct notify *notify) {
    CLEANUP(strbuf_deinit) struct strbuf lines = STRBUF_EMPTY;
    if (notify->fd >= 0) {
        loop_timer_set(notify->timer, USEC_INFINITY);
        strbuf_add(&lines, "STOPPING=1\nSTATUS=stopping\n");
        (void)notify_send(notify, &lines);
    }
}
