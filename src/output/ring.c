// SPDX-License-Identifier: PostgreSQL
//
// One block for each event: its message with its NUL, then for each field that it has its number, its kind, and its
// value: a string with its NUL, or eight bytes.
#include "output/ring.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "util/strbuf.h"

static_assert(N_EVENT_FIELDS_ <= UINT8_MAX, "a field's number is a byte");

struct ring {
    struct ring_entry {
        char *bytes; // owned
        size_t n_bytes;
        usec_t realtime;
        enum event_level level;
    } entries[RING_MAX_EVENTS];
    size_t first; // the oldest
    size_t n;
    size_t n_bytes;
    uint64_t n_missed;
    struct strbuf scratch;
};

struct ring *ring_new(void) {
    return calloc(1, sizeof(struct ring));
}

static void ring_drop_first(struct ring *ring) {
    struct ring_entry *entry = &ring->entries[ring->first];
    ring->n_bytes -= entry->n_bytes;
    free(entry->bytes);
    *entry = (struct ring_entry){0};
    ring->first = (ring->first + 1) % RING_MAX_EVENTS;
    ring->n--;
}

struct ring *ring_free(struct ring *ring) {
    if (!ring) {
        return NULL;
    }
    while (ring->n > 0) {
        ring_drop_first(ring);
    }
    strbuf_deinit(&ring->scratch);
    free(ring);
    return NULL;
}

static void ring_pack(const struct event *event, struct strbuf *sb) {
    strbuf_clear(sb);
    event_render(event, sb);
    strbuf_add_char(sb, '\0');
    for (unsigned i = 0; i < N_EVENT_FIELDS; i++) {
        struct event_value value;
        event_get(event, (enum event_field)i, &value);
        if (value.kind == EVENT_VALUE_NONE) {
            continue;
        }
        strbuf_add_char(sb, (char)i);
        strbuf_add_char(sb, (char)value.kind);
        if (value.kind == EVENT_VALUE_STRING) {
            strbuf_add_bytes(sb, value.string, strlen(value.string) + 1);
        } else {
            strbuf_add_bytes(sb, &value.number, sizeof(value.number));
        }
    }
}

static void ring_pack_without_query(const struct event *event, struct strbuf *sb) {
    struct event shorter = *event;
    struct session_row session = *event->session;
    session.query = NULL;
    shorter.session = &session;
    ring_pack(&shorter, sb);
}

void ring_add(struct ring *ring, const struct event *event, usec_t realtime) {
    struct strbuf *sb = &ring->scratch;
    ring_pack(event, sb);
    if (sb->len > RING_MAX_EVENT && event->session && event->session->query) {
        ring_pack_without_query(event, sb);
    }
    char *bytes = strbuf_error(sb) == 0 && sb->len <= RING_MAX_EVENT ? malloc(sb->len) : NULL;
    if (!bytes) {
        ring->n_missed++;
        return;
    }
    memcpy(bytes, sb->data, sb->len);
    while (ring->n == RING_MAX_EVENTS || ring->n_bytes + sb->len > RING_MAX_BYTES) {
        ring_drop_first(ring);
    }
    ring->entries[(ring->first + ring->n) % RING_MAX_EVENTS] =
        (struct ring_entry){.bytes = bytes, .n_bytes = sb->len, .realtime = realtime, .level = event->level};
    ring->n++;
    ring->n_bytes += sb->len;
}

size_t ring_n(const struct ring *ring) {
    return ring->n;
}

size_t ring_n_bytes(const struct ring *ring) {
    return ring->n_bytes;
}

uint64_t ring_n_missed(const struct ring *ring) {
    return ring->n_missed;
}

struct ring_event ring_get(const struct ring *ring, size_t i,
                           void (*get)(void *userdata, enum event_field field, const struct event_value *value),
                           void *userdata) {
    assert(i < ring->n);
    const struct ring_entry *entry = &ring->entries[(ring->first + i) % RING_MAX_EVENTS];
    const char *s = entry->bytes + strlen(entry->bytes) + 1, *end = entry->bytes + entry->n_bytes;
    while (s < end) {
        enum event_field field = (enum event_field)s[0];
        struct event_value value = {.kind = (enum event_value_kind)s[1]};
        s += 2;
        if (value.kind == EVENT_VALUE_STRING) {
            value.string = s;
            s += strlen(s) + 1;
        } else {
            memcpy(&value.number, s, sizeof(value.number));
            s += sizeof(value.number);
        }
        get(userdata, field, &value);
    }
    return (struct ring_event){.realtime = entry->realtime, .level = entry->level, .message = entry->bytes};
}
