// SPDX-License-Identifier: PostgreSQL
#include <errno.h>

#include "json_event.h"
#include "output/encode.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

void json_event_put_head(struct json_tree *tree, json_t *object, usec_t realtime, enum event_level level,
                         const char *message) {
    json_tree_put_time(tree, object, "ts", realtime);
    json_tree_put_text(tree, object, "level", event_level_to_string(level));
    json_tree_put_text(tree, object, "message", message);
}

void json_event_put_value(struct json_tree *tree, json_t *object, enum event_field field,
                          const struct event_value *value) {
    const char *key = event_field_to_string(field);
    switch (value->kind) {
    case EVENT_VALUE_NONE:
        break;
    case EVENT_VALUE_STRING:
        json_tree_put_text(tree, object, key, value->string);
        break;
    case EVENT_VALUE_NUMBER:
        json_tree_put_number(tree, object, key, value->number);
        break;
    case EVENT_VALUE_BOOL:
        json_tree_put_bool(tree, object, key, value->number);
        break;
    }
}

int json_encode(const struct event *event, usec_t realtime, struct strbuf *sb) {
    CLEANUP(json_tree_deinit) struct json_tree tree = {0};
    CLEANUP(strbuf_deinit) struct strbuf message = STRBUF_EMPTY;
    json_tree_init(&tree);
    event_render(event, &message);
    json_event_put_head(&tree, tree.root, realtime, event->level, strbuf_str(&message));
    for (unsigned i = 0; i < N_EVENT_FIELDS; i++) {
        struct event_value value;
        event_get(event, (enum event_field)i, &value);
        json_event_put_value(&tree, tree.root, (enum event_field)i, &value);
    }
    if (tree.failed || strbuf_error(&message) < 0) {
        return -ENOMEM;
    }
    int r = json_tree_write(tree.root, sb);
    strbuf_add_char(sb, '\n');
    return r < 0 ? r : strbuf_error(sb);
}
