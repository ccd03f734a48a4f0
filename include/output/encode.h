// SPDX-License-Identifier: PostgreSQL
#pragma once

// Events to bytes. Encoders write fields; the one-line message is core's (event_render()).

#include <stddef.h>

#include "core/event.h"
#include "util/usec.h"

struct strbuf;

// One line and its newline. With `priority` a "<4>" prefix for a journal that reads our stderr; with `with_time` an
// RFC 3339 time in front. `realtime`: microseconds since 1970 UTC.
struct text_options {
    bool priority;
    bool with_time;
};
int text_encode(const struct event *event, usec_t realtime, const struct text_options *options, struct strbuf *sb);

// One JSON object and its newline: ts, level, message, then the event's fields. Always valid JSON and UTF-8.
int json_encode(const struct event *event, usec_t realtime, struct strbuf *sb);

// The event as native journal fields, "NAME=value" each, values unescaped (the journal is binary-safe) but for MESSAGE.
struct journal_field {
    size_t at; // into `bytes` of the record
    size_t len;
};
#define JOURNAL_MAX_FIELDS 48
struct journal_record {
    char *bytes; // owned
    size_t n_bytes;
    struct journal_field fields[JOURNAL_MAX_FIELDS];
    size_t n_fields;
};
int journal_encode(const struct event *event, struct journal_record *ret); // 0 or -ENOMEM
void journal_record_deinit(struct journal_record *record);

// 128 bits in hex, one for each kind of event; stable for ever.
const char *journal_message_id(enum event_kind kind);
