// SPDX-License-Identifier: PostgreSQL
//
// At most one log sink: the journal, or a descriptor that takes text or JSON lines. Records go through the writer,
// which also keeps the tickets. What the tee took has been told: such a ticket is written at once.

#include "daemon/sinks.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

#include "output/encode.h"
#include "util/strbuf.h"
#include "writer.h"

// records_dropped is told at most once in this time, with the count since.
#define SINKS_DROPPED_INTERVAL (10 * USEC_PER_SEC)
// What the writer gets at the end.
#define SINKS_FREE_PATIENCE (2 * USEC_PER_SEC)
#define SINKS_TICKET_TOLD UINT64_MAX

struct sinks_listener {
    struct sinks_listener *prev, *next;
    struct sinks *sinks; // NULL: gone before us
    void (*fn)(void *userdata, usec_t now);
    void *userdata;
};

struct sinks_tap {
    struct sinks_tap *prev, *next;
    struct sinks *sinks; // NULL: gone before us
    void (*fn)(void *userdata, const struct event *event);
    void *userdata;
};

struct sinks {
    struct sinks_options options;
    enum log_format format; // never AUTO
    struct text_options text;
    struct writer *writer; // NULL: no log sink
    // The one before a reload that went to another place: kept, so that its tickets can be asked for.
    struct writer *retired;
    // Our tickets count on: writer's begin behind first_ticket, retired's behind first_retired.
    uint64_t first_ticket;
    uint64_t first_retired;
    uint64_t last_ticket;
    uint64_t n_failed_before; // of retired ones that are gone
    struct loop_io *io;
    bool is_armed;
    struct loop_timer *timer; // for a records_dropped that came too soon after the last
    struct sinks_listener *listeners;
    struct sinks_listener *next_listener; // where a walk over the list goes on
    struct sinks_tap *taps;
    struct strbuf line;
    uint64_t n_rejected; // found no room or no memory
    // The records_dropped event under way; 0: none.
    uint64_t report;
    uint64_t report_count;
    uint64_t n_reports_failed; // the writer counts them as records, we do not
    uint64_t n_reported;
    usec_t report_at; // not before
};

// $JOURNAL_STREAM is "device:inode" of a stream that is connected to the journal; it may be inherited by processes
// whose own output goes elsewhere.
static bool sinks_is_journal_stream(int fd) {
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat st;
    if (fd < 0 || !stream || fstat(fd, &st) < 0) {
        return false;
    }
    char *end;
    errno = 0;
    unsigned long long device = strtoull(stream, &end, 10);
    if (errno != 0 || end == stream || *end != ':') {
        return false;
    }
    const char *rest = end + 1;
    unsigned long long inode = strtoull(rest, &end, 10);
    return errno == 0 && end != rest && *end == '\0' && device == st.st_dev && inode == st.st_ino;
}

static bool sinks_has_journal(void) {
    return access(WRITER_JOURNAL_SOCKET, F_OK) == 0;
}

static enum log_format sinks_choose(const struct sinks_options *options, bool is_journal_stream) {
    if (options->format != LOG_FORMAT_AUTO) {
        return options->format;
    }
    return (is_journal_stream || options->fd < 0) && sinks_has_journal() ? LOG_FORMAT_JOURNAL : LOG_FORMAT_TEXT;
}

static void sinks_arm(struct sinks *sinks);

static enum writer_state sinks_writer_state(const struct sinks *sinks, uint64_t ticket) {
    if (ticket > sinks->first_ticket) {
        return writer_ticket_state(sinks->writer, ticket - sinks->first_ticket);
    }
    return ticket > sinks->first_retired && sinks->retired
               ? writer_ticket_state(sinks->retired, ticket - sinks->first_retired)
               : WRITER_FAILED;
}

// What became of the records_dropped event under way. false: not known yet.
static bool sinks_settle_report(struct sinks *sinks) {
    if (sinks->report == 0) {
        return true;
    }
    switch (sinks_writer_state(sinks, sinks->report)) {
    case WRITER_PENDING:
        return false;
    case WRITER_WRITTEN:
        sinks->n_reported += sinks->report_count;
        break;
    case WRITER_FAILED:
        sinks->n_reports_failed++;
        break;
    }
    sinks->report = 0;
    return true;
}

static uint64_t sinks_count(struct sinks *sinks, uint64_t ticket) {
    if (ticket == 0) {
        return 0;
    }
    sinks->last_ticket = sinks->first_ticket + ticket;
    return sinks->last_ticket;
}

static uint64_t sinks_push(struct sinks *sinks, const struct event *event) {
    if (sinks->format == LOG_FORMAT_JOURNAL) {
        struct journal_record record;
        if (journal_encode(event, &record) < 0) {
            return 0;
        }
        uint64_t ticket = writer_push(sinks->writer, record.bytes, record.n_bytes, record.fields, record.n_fields);
        journal_record_deinit(&record);
        return sinks_count(sinks, ticket);
    }
    strbuf_clear(&sinks->line);
    usec_t realtime = sinks->options.realtime();
    int r = sinks->format == LOG_FORMAT_JSON ? json_encode(event, realtime, &sinks->line)
                                             : text_encode(event, realtime, &sinks->text, &sinks->line);
    if (r < 0) {
        return 0;
    }
    return sinks_count(sinks, writer_push(sinks->writer, strbuf_str(&sinks->line), sinks->line.len, NULL, 0));
}

static void sinks_tell_taps(const struct sinks *sinks, const struct event *event) {
    const struct sinks_tap *tap;
    DL_FOREACH(sinks->taps, tap) {
        tap->fn(tap->userdata, event);
    }
}

// Says how many records were lost, once the log takes records again.
static void sinks_report_dropped(struct sinks *sinks) {
    uint64_t count = sinks_n_dropped(sinks) - sinks->n_reported;
    struct event event = event_make(EVENT_RECORDS_DROPPED, EVENT_WARNING, NULL);
    event.count = (int64_t)count;
    sinks_tell_taps(sinks, &event);
    if (sinks->options.tee) {
        (void)sinks->options.tee(sinks->options.tee_data, &event);
    }
    sinks->report = sinks_push(sinks, &event);
    sinks->report_count = count;
}

static void sinks_check_dropped(struct sinks *sinks, usec_t now) {
    if (!sinks_settle_report(sinks) || sinks_n_dropped(sinks) == sinks->n_reported || !writer_has_room(sinks->writer)) {
        return; // whatever changes that wakes us
    }
    if (now < sinks->report_at) {
        loop_timer_set(sinks->timer, sinks->report_at);
        return;
    }
    sinks->report_at = usec_add(now, SINKS_DROPPED_INTERVAL);
    sinks_report_dropped(sinks);
}

static void sinks_timer_dispatch(void *userdata, usec_t now) {
    sinks_check_dropped(userdata, now);
}

static void sinks_io_dispatch(void *userdata, unsigned ready, usec_t now) {
    struct sinks *sinks = userdata;
    (void)ready;
    writer_acknowledge(sinks->writer);
    sinks->is_armed = false;
    sinks_arm(sinks);
    sinks_check_dropped(sinks, now);
    for (struct sinks_listener *listener = sinks->listeners; listener; listener = sinks->next_listener) {
        sinks->next_listener = listener->next;
        listener->fn(listener->userdata, now);
    }
}

// Tried again with each record: without memory for it now, nobody is told until then.
static void sinks_arm(struct sinks *sinks) {
    if (!sinks->is_armed) {
        sinks->is_armed = loop_io_arm(sinks->io, writer_fd(sinks->writer), LOOP_READ, USEC_INFINITY) == 0;
    }
}

// The writer that the format needs. 0 with *ret, which is NULL when there is no log sink.
static int sinks_open(const struct sinks *sinks, enum log_format format, struct writer **ret, const char **ret_why) {
    int fd = sinks->options.fd;
    *ret = NULL;
    if (format == LOG_FORMAT_JOURNAL) {
        if (!sinks_has_journal()) {
            *ret_why = "no journal: there is no " WRITER_JOURNAL_SOCKET;
            return -ENOENT;
        }
        fd = -1;
    } else if (fd < 0) {
        return 0;
    }
    int r = writer_new(fd, ret);
    if (r < 0) {
        *ret_why = r == -EBADF ? "the log's file descriptor is not open" : "cannot start the log's writer thread";
    }
    return r;
}

static void sinks_set_format(struct sinks *sinks, enum log_format format) {
    bool is_journal_stream = sinks_is_journal_stream(sinks->options.fd);
    sinks->format = format;
    // journald puts its own time to each line, and takes the priority from the prefix.
    sinks->text = (struct text_options){.priority = is_journal_stream, .with_time = !is_journal_stream};
}

int sinks_new(struct loop *loop, const struct sinks_options *options, struct sinks **ret, const char **ret_why) {
    CLEANUP(sinks_freep) struct sinks *sinks = calloc(1, sizeof *sinks);
    if (!sinks) {
        *ret_why = "out of memory";
        return -ENOMEM;
    }
    sinks->options = *options;
    sinks->io = loop_io_new(loop, sinks_io_dispatch, sinks);
    sinks->timer = loop_timer_new(loop, sinks_timer_dispatch, sinks);
    if (!sinks->io || !sinks->timer) {
        *ret_why = "out of memory";
        return -ENOMEM;
    }
    sinks_set_format(sinks, sinks_choose(options, sinks_is_journal_stream(options->fd)));
    int r = sinks_open(sinks, sinks->format, &sinks->writer, ret_why);
    if (r < 0) {
        return r;
    }
    *ret = TAKE_PTR(sinks);
    return 0;
}

// What the retired one has to write it has written; false: not yet.
static bool sinks_drop_retired(struct sinks *sinks) {
    if (sinks->retired) {
        if (!writer_flush(sinks->retired, 0)) {
            return false;
        }
        sinks->n_failed_before += writer_n_failed(sinks->retired);
        sinks->retired = writer_free(sinks->retired, SINKS_FREE_PATIENCE);
    }
    return true;
}

int sinks_reconfigure(struct sinks *sinks, enum event_level level, enum log_format format, const char **ret_why) {
    struct sinks_options options = sinks->options;
    options.format = format;
    enum log_format chosen = sinks_choose(&options, sinks_is_journal_stream(options.fd));
    if ((chosen == LOG_FORMAT_JOURNAL) != (sinks->format == LOG_FORMAT_JOURNAL)) {
        struct writer *writer;
        if (!sinks_drop_retired(sinks)) {
            *ret_why = "the log has not taken the records of the format before the last yet";
            return -EBUSY;
        }
        int r = sinks_open(sinks, chosen, &writer, ret_why);
        if (r < 0) {
            return r;
        }
        sinks->retired = sinks->writer;
        sinks->first_retired = sinks->first_ticket;
        sinks->writer = writer;
        sinks->first_ticket = sinks->last_ticket;
        loop_io_disarm(sinks->io);
        sinks->is_armed = false;
    }
    sinks->options.format = format;
    sinks->options.level = level;
    sinks_set_format(sinks, chosen);
    return 0;
}

struct sinks *sinks_free(struct sinks *sinks) {
    if (!sinks) {
        return NULL;
    }
    // Their owners may be half gone.
    struct sinks_tap *tap;
    DL_FOREACH(sinks->taps, tap) {
        tap->sinks = NULL;
    }
    sinks->taps = NULL;
    if (sinks->writer && sinks_settle_report(sinks) && sinks_n_dropped(sinks) > sinks->n_reported) {
        sinks->options.tee = NULL;
        sinks_report_dropped(sinks);
    }
    struct sinks_listener *listener;
    DL_FOREACH(sinks->listeners, listener) {
        listener->sinks = NULL;
    }
    loop_timer_free(sinks->timer);
    loop_io_free(sinks->io);
    writer_free(sinks->retired, SINKS_FREE_PATIENCE);
    writer_free(sinks->writer, SINKS_FREE_PATIENCE);
    strbuf_deinit(&sinks->line);
    free(sinks);
    return NULL;
}

// P6: without its record an intent is not carried out; and who reads that a session is being ended is to read what
// became of it.
static bool sinks_is_record(const struct event *event) {
    return (event->kind == EVENT_DECISION || event->kind == EVENT_OUTCOME) && !event->observe;
}

// What is told of sessions that nobody touches can be thousands of lines at once. It must not keep an outcome out of
// the queue.
static bool sinks_has_place(const struct sinks *sinks, const struct event *event) {
    bool is_act = sinks_is_record(event) && !(event->has_action && event->action == ACTION_LOG);
    return is_act || writer_has_spare(sinks->writer);
}

static bool sinks_is_logged(const struct sinks *sinks, const struct event *event) {
    return sinks->writer && (event->level <= sinks->options.level || sinks_is_record(event));
}

uint64_t sinks_emit(struct sinks *sinks, const struct event *event) {
    uint64_t ticket = 0;
    sinks_tell_taps(sinks, event);
    if (sinks_is_logged(sinks, event)) {
        sinks_arm(sinks);
        ticket = sinks_has_place(sinks, event) ? sinks_push(sinks, event) : 0;
        sinks->n_rejected += ticket == 0;
    }
    if (sinks->options.tee && sinks->options.tee(sinks->options.tee_data, event)) {
        ticket = SINKS_TICKET_TOLD;
    }
    return ticket;
}

enum sinks_state sinks_ticket_state(const struct sinks *sinks, uint64_t ticket) {
    if (ticket == SINKS_TICKET_TOLD) {
        return SINKS_WRITTEN;
    }
    if (!sinks->writer) {
        return SINKS_FAILED;
    }
    switch (sinks_writer_state(sinks, ticket)) {
    case WRITER_PENDING:
        return SINKS_PENDING;
    case WRITER_WRITTEN:
        return SINKS_WRITTEN;
    case WRITER_FAILED:
        break;
    }
    return SINKS_FAILED;
}

struct sinks_listener *sinks_listen(struct sinks *sinks, void (*fn)(void *userdata, usec_t now), void *userdata) {
    struct sinks_listener *listener = malloc(sizeof *listener);
    if (listener) {
        *listener = (struct sinks_listener){.sinks = sinks, .fn = fn, .userdata = userdata};
        DL_PREPEND(sinks->listeners, listener);
    }
    return listener;
}

struct sinks_listener *sinks_unlisten(struct sinks_listener *listener) {
    if (listener) {
        struct sinks *sinks = listener->sinks;
        if (sinks) {
            if (sinks->next_listener == listener) {
                sinks->next_listener = listener->next;
            }
            DL_DELETE(sinks->listeners, listener);
        }
        free(listener);
    }
    return NULL;
}

struct sinks_tap *sinks_tap(struct sinks *sinks, void (*fn)(void *userdata, const struct event *event),
                            void *userdata) {
    struct sinks_tap *tap = malloc(sizeof *tap);
    if (tap) {
        *tap = (struct sinks_tap){.sinks = sinks, .fn = fn, .userdata = userdata};
        DL_APPEND(sinks->taps, tap);
    }
    return tap;
}

struct sinks_tap *sinks_untap(struct sinks_tap *tap) {
    if (tap && tap->sinks) {
        DL_DELETE(tap->sinks->taps, tap);
    }
    free(tap);
    return NULL;
}

bool sinks_flush(struct sinks *sinks, usec_t timeout) {
    return (!sinks->retired || writer_flush(sinks->retired, timeout)) &&
           (!sinks->writer || writer_flush(sinks->writer, timeout));
}

uint64_t sinks_n_dropped(const struct sinks *sinks) {
    uint64_t n_failed = sinks->n_failed_before;
    n_failed += sinks->retired ? writer_n_failed(sinks->retired) : 0;
    n_failed += sinks->writer ? writer_n_failed(sinks->writer) : 0;
    return sinks->n_rejected + n_failed - sinks->n_reports_failed;
}
