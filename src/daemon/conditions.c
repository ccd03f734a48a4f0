// SPDX-License-Identifier: PostgreSQL
#include "conditions.h"

#include <string.h>

#include "util/macro.h"

static void conditions_copy(char text[static CONDITIONS_TEXT_MAX], const char *s) {
    size_t len = strnlen(s, CONDITIONS_TEXT_MAX - 1);
    memcpy(text, s, len);
    text[len] = '\0';
}

void conditions_raise(struct conditions *conditions, enum condition condition, const char *detail, const char *hint) {
    struct condition_entry *entry = &conditions->items[condition];
    if (entry->holds) {
        return; // how it began is what was told
    }
    entry->holds = true;
    conditions_copy(entry->detail, detail);
    entry->has_hint = hint != NULL;
    conditions_copy(entry->hint, hint ? hint : "");
}

void conditions_clear(struct conditions *conditions, enum condition condition) {
    conditions->items[condition].holds = false;
}

void conditions_clear_all(struct conditions *conditions) {
    for (unsigned i = 0; i < N_CONDITIONS; i++) {
        conditions->items[i].holds = false;
    }
}

bool conditions_peek(const struct conditions *conditions, struct engine_input *ret) {
    for (unsigned i = 0; i < N_CONDITIONS; i++) {
        const struct condition_entry *entry = &conditions->items[i];
        if (entry->holds != entry->told) {
            *ret = (struct engine_input){
                .kind = ENGINE_INPUT_CONDITION,
                .condition = {.condition = (enum condition)i,
                              .holds = entry->holds,
                              .detail = entry->holds ? entry->detail : NULL,
                              .hint = entry->holds && entry->has_hint ? entry->hint : NULL},
            };
            return true;
        }
    }
    return false;
}

void conditions_told(struct conditions *conditions, const struct engine_input *input) {
    conditions->items[input->condition.condition].told = input->condition.holds;
}
