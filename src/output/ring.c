// SPDX-License-Identifier: PostgreSQL
#include "output/ring.h"

#include <stdlib.h>
#include <string.h>

#include "output/encode.h"
#include "util/strbuf.h"

struct ring {
    struct ring_entry {
        char *json; // owned
        size_t len;
    } entries[RING_MAX_EVENTS];
    size_t first; // the oldest
    size_t n;
    size_t n_bytes;
    uint64_t n_missed;
};

struct ring *ring_new(void) {
    return calloc(1, sizeof(struct ring));
}

static void ring_drop_first(struct ring *ring) {
    struct ring_entry *entry = &ring->entries[ring->first];
    ring->n_bytes -= entry->len;
    free(entry->json);
    *entry = (struct ring_entry){0};
    ring->first = (ring->first + 1) % RING_MAX_EVENTS;
    ring->n--;
}

struct ring *ring_free(struct ring *ring) {
    while (ring && ring->n > 0) {
        ring_drop_first(ring);
    }
    free(ring);
    return NULL;
}

// One line, without the newline.
static char *ring_render(const struct event *event, usec_t realtime, size_t *ret_len) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    if (json_encode(event, realtime, &sb) < 0 || sb.len == 0) {
        return NULL;
    }
    size_t len = sb.len - 1;
    char *json = malloc(len + 1); // just as much as it needs: it stays for long
    if (json) {
        memcpy(json, strbuf_str(&sb), len);
        json[len] = '\0';
        *ret_len = len;
    }
    return json;
}

static char *ring_render_shorter(const struct event *event, usec_t realtime, size_t *ret_len) {
    struct event shorter = *event;
    struct session_row session;
    if (!event->session || !event->session->query) {
        return NULL;
    }
    session = *event->session;
    session.query = NULL;
    shorter.session = &session;
    return ring_render(&shorter, realtime, ret_len);
}

void ring_add(struct ring *ring, const struct event *event, usec_t realtime) {
    size_t len = 0;
    char *json = ring_render(event, realtime, &len);
    if (json && len > RING_MAX_EVENT) {
        free(json);
        json = ring_render_shorter(event, realtime, &len);
    }
    if (!json || len > RING_MAX_EVENT) {
        free(json);
        ring->n_missed++;
        return;
    }
    while (ring->n == RING_MAX_EVENTS || ring->n_bytes + len > RING_MAX_BYTES) {
        ring_drop_first(ring);
    }
    ring->entries[(ring->first + ring->n) % RING_MAX_EVENTS] = (struct ring_entry){json, len};
    ring->n++;
    ring->n_bytes += len;
}

size_t ring_n(const struct ring *ring) {
    return ring->n;
}

const char *ring_get(const struct ring *ring, size_t i) {
    return ring->entries[(ring->first + i) % RING_MAX_EVENTS].json;
}

uint64_t ring_n_missed(const struct ring *ring) {
    return ring->n_missed;
}
