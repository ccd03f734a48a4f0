// SPDX-License-Identifier: PostgreSQL
#pragma once

// Binds a node tree to structs by tables: one row a key. The same rows drive parsing, defaults, ranges, unknown keys,
// the merging of conf.d, and print. This part knows no key of ours; tables.c holds them.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "report.h"
#include "yaml_tree.h"

struct field;
struct section;
struct strbuf;

// One run.
struct binder {
    struct diag_list *diags;
    struct config *config;             // being filled
    const struct yaml_node *root;      // the whole tree, for references between sections
    config_conninfo_fn check_conninfo; // NULL: none
    size_t n_compared;                 // strings of one app with those of another, so far
};

enum field_type {
    FIELD_BOOL,     // bool
    FIELD_DURATION, // usec_t in min..max
    FIELD_INTEGER,  // int64_t in min..max, or `zero`
    FIELD_PERCENT,  // int64_t in min..max
    FIELD_ENUM,     // an enum of n_words values from 0
    FIELD_TEXT,     // char *, owned by the struct; never empty
    FIELD_CUSTOM,   // what parse() makes of it
    FIELD_SECTION,  // a map of the fields of `section`
    FIELD_ENTRIES,  // a map of names, each to a map of the fields of `section`
};

// How a later file's value joins an earlier one's. Sections and entries are merged key by key anyway.
enum field_merge { MERGE_REPLACE, MERGE_BY_KEY, MERGE_GROW };

struct field {
    const char *name;
    enum field_type type;
    bool required;
    bool secret;            // the value never appears in a message or in print
    enum field_merge merge; // FIELD_CUSTOM
    size_t offset;          // of the member in the struct that the section's open() returns
    const char *fallback;   // the default, as a file would write it; NULL: the member stays as open() made it
    // Writes the default for print where it depends on other keys of the map (NULL: none is written), and finish() sets
    // the member. NULL: it does not depend.
    void (*derive)(const struct yaml_node *map, struct strbuf *sb);
    uint64_t min, max;
    const char *zero;                    // FIELD_INTEGER: the word that stands for 0
    const char *(*word)(unsigned value); // NULL: this value cannot be written here
    unsigned n_words;
    // 0 or -ENOMEM; mistakes are reported. The node is not bad, and may be of any kind or null.
    const char *kind; // for schema_report_kind(): "a list of states"
    int (*parse)(struct binder *binder, const struct field *field, const struct yaml_node *node,
                 const struct path *path, void *member);
    const struct section *section;
    const char *example; // a value to show in hints
    const char *help;    // one sentence, for people
};

struct section {
    const struct field *fields;
    size_t n_fields;
    // The struct that the fields live in; for entries a new one of that name. NULL: out of memory. A section without
    // open() lives in the struct around it, at the offset of its field.
    void *(*open)(struct config *config, const char *name);
    // Checks across keys; entry->value is the map. NULL: none. 0 or -ENOMEM.
    int (*finish)(struct binder *binder, void *base, const struct yaml_pair *entry, const struct path *path);
};

const struct field *section_find(const struct section *section, const char *name); // NULL: unknown

// Fills what root describes. Mistakes go to the diagnostics; 0 or -ENOMEM.
int schema_bind(struct binder *binder, const struct section *root);

// Whether anything holds when the section is not written.
bool section_has_defaults(const struct section *section);

// Which of the field's words the text is; false: none, and that has been reported.
bool schema_find_word(struct binder *binder, const struct field *field, const struct yaml_node *node,
                      const struct path *path, unsigned *ret);

// Reports a value of the wrong kind, or none at all, and what to write instead; never the value.
void schema_report_kind(struct binder *binder, const struct field *field, const struct yaml_node *node,
                        const struct path *path);
