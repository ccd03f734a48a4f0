// SPDX-License-Identifier: PostgreSQL
#pragma once

// An event's members in a JSON object: ts, level, message, then its fields.

#include "core/event.h"
#include "json_tree.h"

void json_event_put_head(struct json_tree *tree, json_t *object, usec_t realtime, enum event_level level,
                         const char *message);
void json_event_put_value(struct json_tree *tree, json_t *object, enum event_field field,
                          const struct event_value *value); // nothing for NONE
