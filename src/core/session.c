// SPDX-License-Identifier: PostgreSQL
#include "core/session.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "util/macro.h"

#define SESSION_USEC_PER_DAY INT64_C(86400000000)
#define SESSION_EPOCH_DAY INT64_C(730425) // 2000-01-01, in days since 0000-03-01

static const char *const session_state_names[] = {
    [SESSION_STATE_NONE] = "starting",
    [SESSION_STATE_ACTIVE] = "active",
    [SESSION_STATE_IDLE] = "idle",
    [SESSION_STATE_IDLE_IN_TRANSACTION] = "idle in transaction",
    [SESSION_STATE_IDLE_IN_TRANSACTION_ABORTED] = "idle in transaction (aborted)",
    [SESSION_STATE_FASTPATH] = "fastpath function call",
    [SESSION_STATE_DISABLED] = "disabled",
};
static_assert(ARRAY_SIZE(session_state_names) == N_SESSION_STATES, "one name for each state");

static const char *const session_time_names[] = {
    [SESSION_TIME_STATE_CHANGE] = "state_change",
    [SESSION_TIME_QUERY_START] = "query_start",
    [SESSION_TIME_XACT_START] = "xact_start",
    [SESSION_TIME_BACKEND_START] = "backend_start",
};
static_assert(ARRAY_SIZE(session_time_names) == N_SESSION_TIMES, "one name for each time");

// The calendar by hand: libc's knows time zones, and core must not. Days are counted from a 1 March, so that the leap
// day ends its year; 400 years have 146097 days, 100 have 36524, 4 have 1461 (the rest are the short and long last
// ones); months from March on have 153 days in each five.
void timestamp_format(int64_t timestamp, char text[TIMESTAMP_TEXT_SIZE]) {
    int64_t usec = timestamp % SESSION_USEC_PER_DAY;
    int64_t days = timestamp / SESSION_USEC_PER_DAY + SESSION_EPOCH_DAY;
    if (usec < 0) {
        usec += SESSION_USEC_PER_DAY;
        days--;
    }
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    int64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    int64_t year = era * 400 + year_of_era + (month <= 2 ? 1 : 0);
    // Narrow types, so that the compiler can see that the text fits.
    unsigned char day = (unsigned char)(day_of_year - (153 * month_from_march + 2) / 5 + 1);
    unsigned char hour = (unsigned char)(usec / 3600000000), minute = (unsigned char)(usec / 60000000 % 60);
    unsigned char second = (unsigned char)(usec / 1000000 % 60);
    (void)snprintf(text, TIMESTAMP_TEXT_SIZE, "%04d-%02u-%02uT%02u:%02u:%02u.%06uZ", (int)year, (unsigned char)month,
                   day, hour, minute, second, (unsigned)(usec % 1000000));
}

bool session_id_is_equal(const struct session_id *a, const struct session_id *b) {
    return a->id == b->id && a->since == b->since;
}

const char *session_state_to_string(enum session_state state) {
    return session_state_names[state];
}

bool session_state_from_string(const char *s, size_t len, enum session_state *ret) {
    for (unsigned i = 0; i < N_SESSION_STATES; i++) {
        if (strlen(session_state_names[i]) == len && memcmp(session_state_names[i], s, len) == 0) {
            *ret = (enum session_state)i;
            return true;
        }
    }
    return false;
}

const char *session_time_to_string(enum session_time which) {
    return session_time_names[which];
}

int64_t session_row_time(const struct session_row *row, enum session_time which) {
    switch (which) {
    case SESSION_TIME_STATE_CHANGE:
        return row->state_change;
    case SESSION_TIME_QUERY_START:
        return row->query_start;
    case SESSION_TIME_XACT_START:
        return row->xact_start;
    case SESSION_TIME_BACKEND_START:
        return row->id.since;
    case N_SESSION_TIMES_:
        break;
    }
    return TIMESTAMP_NONE;
}

int64_t server_facts_usable(const struct server_facts *facts) {
    int64_t usable = facts->max_connections - facts->superuser_reserved_connections - facts->reserved_connections;
    return MAX(usable, (int64_t)1);
}

int64_t slots_percent(int64_t used, int64_t usable) {
    if (usable <= 0) {
        return 0;
    }
    int64_t percent = (used * 100 + usable - 1) / usable;
    return used < usable ? MIN(percent, (int64_t)99) : percent;
}
