// SPDX-License-Identifier: PostgreSQL
#pragma once

// The keys of a pgvigil file, all of them.

#include "schema.h"

extern const struct section tables_root;
// Of its rules, one entry each; tables_rules.c.
extern const struct section tables_timeout;
extern const struct section tables_quota;
extern const struct section tables_alarm;
// Where we are to be reached; tables_service.c.
extern const struct section tables_http;
extern const struct section tables_control;
// Of outputs.webhooks, one entry each; tables_webhooks.c.
extern const struct section tables_webhook;
int tables_check_webhooks(struct binder *binder, const struct yaml_pair *outputs, const struct path *path);

#define TABLES_MAX_SESSIONS 262143 // PostgreSQL's own limit of backends

bool keys_is_text(const struct yaml_node *node);

// What custom rows are read by; see field.parse.
int keys_parse_state(struct binder *binder, const struct field *field, const struct yaml_node *node,
                     const struct path *path, void *member); // struct timeout
int keys_parse_then(struct binder *binder, const struct field *field, const struct yaml_node *node,
                    const struct path *path, void *member); // bool
int keys_parse_per(struct binder *binder, const struct field *field, const struct yaml_node *node,
                   const struct path *path, void *member); // unsigned: GROUP_KEY_BIT()s
int keys_parse_max(struct binder *binder, const struct field *field, const struct yaml_node *node,
                   const struct path *path, void *member); // struct quota
int keys_parse_evict(struct binder *binder, const struct field *field, const struct yaml_node *node,
                     const struct path *path, void *member); // struct quota
// A threshold's value waits for keys_bind_threshold(), which knows the metric; here only its kind is looked at.
int keys_parse_threshold(struct binder *binder, const struct field *field, const struct yaml_node *node,
                         const struct path *path, void *member);
// False: reported.
bool keys_bind_threshold(struct binder *binder, const struct yaml_node *node, const struct path *path,
                         const struct alarm *alarm, int64_t *ret);
int keys_parse_builtin(struct binder *binder, const struct field *field, const struct yaml_node *node,
                       const struct path *path, void *member); // struct protect
int keys_parse_selector(struct binder *binder, const struct field *field, const struct yaml_node *node,
                        const struct path *path, void *member); // struct selector *
int keys_parse_listen(struct binder *binder, const struct field *field, const struct yaml_node *node,
                      const struct path *path, void *member); // struct http_config
int keys_parse_socket(struct binder *binder, const struct field *field, const struct yaml_node *node,
                      const struct path *path, void *member); // struct control_config
// Into ret->socket what the tree says, the default when it says nothing that can be used: *ret_sure tells whether it
// says something else. 0 or -ENOMEM.
int keys_find_socket(struct diag_list *diags, const struct yaml_node *tree, struct control_config *ret, bool *ret_sure);
int keys_parse_app_selector(struct binder *binder, const struct field *field, const struct yaml_node *node,
                            const struct path *path, void *member); // the same, without `app`
