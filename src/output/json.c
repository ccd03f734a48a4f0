// SPDX-License-Identifier: PostgreSQL
#include "output/encode.h"

#include <errno.h>
#include <jansson.h>

#include "json_tree.h"
#include "text.h"
#include "util/cleanup.h"
#include "util/escape.h"
#include "util/strbuf.h"

static void json_unrefp(json_t **value) {
    json_decref(*value);
}

// Takes the value over; NULL (no memory to make it) fails.
static int json_put(json_t *object, const char *key, json_t *value) {
    return json_object_set_new(object, key, value) < 0 ? -ENOMEM : 0;
}

static int json_put_string(json_t *object, const char *key, const char *raw) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    escape_to_utf8(&text, raw);
    int r = strbuf_error(&text);
    return r < 0 ? r : json_put(object, key, json_string(strbuf_str(&text)));
}

static int json_put_field(json_t *object, const struct event *event, enum event_field field) {
    struct event_value value;
    event_get(event, field, &value);
    const char *key = event_field_to_string(field);
    switch (value.kind) {
    case EVENT_VALUE_NONE:
        return 0;
    case EVENT_VALUE_STRING:
        return json_put_string(object, key, value.string);
    case EVENT_VALUE_NUMBER:
        return json_put(object, key, json_integer(value.number));
    case EVENT_VALUE_BOOL:
        return json_put(object, key, json_boolean(value.number));
    }
    return -EINVAL;
}

static int json_put_head(json_t *object, const struct event *event, usec_t realtime) {
    CLEANUP(strbuf_deinit) struct strbuf ts = STRBUF_EMPTY, message = STRBUF_EMPTY;
    text_add_time(&ts, realtime);
    event_render(event, &message);
    int r = strbuf_error(&ts);
    r = r < 0 ? r : strbuf_error(&message);
    r = r < 0 ? r : json_put_string(object, "ts", strbuf_str(&ts));
    r = r < 0 ? r : json_put_string(object, "level", event_level_to_string(event->level));
    return r < 0 ? r : json_put_string(object, "message", strbuf_str(&message));
}

int json_encode(const struct event *event, usec_t realtime, struct strbuf *sb) {
    CLEANUP(json_unrefp) json_t *object = json_object();
    if (!object) {
        return -ENOMEM;
    }
    int r = json_put_head(object, event, realtime);
    for (unsigned i = 0; r == 0 && i < N_EVENT_FIELDS; i++) {
        r = json_put_field(object, event, (enum event_field)i);
    }
    if (r < 0) {
        return r;
    }
    r = json_tree_write(object, sb);
    strbuf_add_char(sb, '\n');
    return r < 0 ? r : strbuf_error(sb);
}
