// SPDX-License-Identifier: PostgreSQL
#pragma once

// conf.d: a later file over an earlier one, by name.

#include "schema.h"

// Merges the root map `over` into the root map `base` and leaves a rest in `over` that is only to be freed. Sections
// and entries are merged key by key: what exists keeps its place, what is new goes last, a null entry is removed. A
// null section changes nothing, which is told where earlier files have something there. Any other value replaces,
// selectors too (a selector is read as one thing), except that protect.match grows and bindings of protect.builtin are
// joined. Merged nodes keep their own positions, but a section that loses its last entry takes the position of that
// null. 0 or -ENOMEM.
int config_merge(struct diag_list *diags, const struct section *root, struct yaml_node *base, struct yaml_node *over);
