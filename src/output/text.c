// SPDX-License-Identifier: PostgreSQL
#include "text.h"

#include <assert.h>
#include <inttypes.h>
#include <syslog.h>
#include <time.h>

#include "output/encode.h"
#include "util/strbuf.h"

static const unsigned text_priorities[] = {
    [EVENT_ERROR] = LOG_ERR, [EVENT_WARNING] = LOG_WARNING, [EVENT_NOTICE] = LOG_NOTICE,
    [EVENT_INFO] = LOG_INFO, [EVENT_DEBUG] = LOG_DEBUG,
};
static_assert(ARRAY_SIZE(text_priorities) == N_EVENT_LEVELS, "one priority a level");

unsigned text_priority(enum event_level level) {
    assert(level < N_EVENT_LEVELS_);
    return text_priorities[level];
}

void text_add_time(struct strbuf *sb, usec_t realtime) {
    time_t seconds = (time_t)(realtime / USEC_PER_SEC);
    struct tm tm;
    const struct tm *r = gmtime_r(&seconds, &tm);
    assert(r); // 2^64 microseconds end within the range of an int of years
    strbuf_addf(sb, "%04d-%02d-%02dT%02d:%02d:%02d.%03" PRIu64 "Z", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                tm.tm_hour, tm.tm_min, tm.tm_sec, realtime % USEC_PER_SEC / USEC_PER_MSEC);
}

int text_encode(const struct event *event, usec_t realtime, const struct text_options *options, struct strbuf *sb) {
    if (options->priority) {
        strbuf_addf(sb, "<%u>", text_priority(event->level));
    }
    if (options->with_time) {
        text_add_time(sb, realtime);
        strbuf_add_char(sb, ' ');
    }
    event_render(event, sb);
    strbuf_add_char(sb, '\n');
    return strbuf_error(sb);
}
