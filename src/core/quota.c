// SPDX-License-Identifier: PostgreSQL
#include "quota.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/array.h"
#include "util/escape.h"
#include "util/macro.h"
#include "util/strbuf.h"

void quota_count_deinit(struct quota_count *count) {
    free(count->slots);
    free(count->buckets);
    free(count->over);
    *count = (struct quota_count){0};
}

static void quota_group_free(struct quota_group **memory, struct quota_group *group) {
    if (group->hh.tbl) {
        HASH_DEL(*memory, group);
    }
    free(group->key);
    free(group->label);
    free(group);
}

void quota_groups_free(struct quota_group **memory) {
    struct quota_group *group, *next;

    HASH_ITER(hh, *memory, group, next) {
        quota_group_free(memory, group);
    }
}

void quota_groups_restart(struct quota_group *memory, usec_t now) {
    for (struct quota_group *group = memory; group; group = group->hh.next) {
        group->over_since = now;
    }
}

int64_t quota_allowed(const struct quota *quota, const struct server_facts *facts) {
    return quota->max_is_percent ? server_facts_usable(facts) * quota->max / 100 : quota->max;
}

// --- Who holds how many ---------------------------------------------------------------------------------------------

// Names are interned and groups are one for each app: what is equal has equal pointers.
static uint64_t quota_hash(const struct origin *origin, unsigned per) {
    const void *parts[] = {
        [GROUP_APP] = origin->group,
        [GROUP_USER] = origin->key.user,
        [GROUP_DATABASE] = origin->key.database,
        [GROUP_CLIENT_ADDR] = NULL,
        [GROUP_APPLICATION_NAME] = origin->key.application_name,
    };
    uint64_t hash = UINT64_C(14695981039346656037);

    for (unsigned i = 0; i < N_GROUP_KEYS; i++) {
        if (per & GROUP_KEY_BIT(i)) {
            hash = (hash ^ (uint64_t)(uintptr_t)parts[i]) * UINT64_C(1099511628211);
            hash ^= hash >> 29;
        }
    }
    for (size_t i = 0; (per & GROUP_KEY_BIT(GROUP_CLIENT_ADDR)) && i < sizeof(origin->key.client.bytes); i++) {
        hash = (hash ^ origin->key.client.bytes[i]) * UINT64_C(1099511628211);
    }
    return hash ^ (hash >> 32);
}

static bool quota_is_one_group(const struct origin *a, const struct origin *b, unsigned per) {
    return (!(per & GROUP_KEY_BIT(GROUP_APP)) || a->group == b->group) &&
           (!(per & GROUP_KEY_BIT(GROUP_USER)) || a->key.user == b->key.user) &&
           (!(per & GROUP_KEY_BIT(GROUP_DATABASE)) || a->key.database == b->key.database) &&
           (!(per & GROUP_KEY_BIT(GROUP_CLIENT_ADDR)) || address_is_equal(&a->key.client, &b->key.client)) &&
           (!(per & GROUP_KEY_BIT(GROUP_APPLICATION_NAME)) || a->key.application_name == b->key.application_name);
}

#define QUOTA_NO_SLOT SIZE_MAX

static int quota_reserve(struct quota_count *count, size_t n_origins) {
    size_t n_buckets = 16;

    while (n_buckets < 2 * n_origins) {
        n_buckets *= 2;
    }
    if (n_buckets > count->n_buckets) {
        size_t *buckets = reallocarray(count->buckets, n_buckets, sizeof(*buckets));
        if (!buckets) {
            return -ENOMEM;
        }
        count->buckets = buckets;
        count->n_buckets = n_buckets;
    }
    if (n_origins > count->slots_capacity) {
        struct quota_slot *slots = reallocarray(count->slots, n_origins, sizeof(*slots));
        if (!slots) {
            return -ENOMEM;
        }
        count->slots = slots;
        count->slots_capacity = n_origins;
    }
    memset(count->buckets, 0, count->n_buckets * sizeof(*count->buckets));
    count->n_slots = count->n_over = 0;
    return 0;
}

// There are no more groups than origins, and twice as many buckets: one is empty.
static size_t quota_slot_of(struct quota_count *count, struct origin *origin, unsigned per) {
    size_t i = (size_t)quota_hash(origin, per) & (count->n_buckets - 1);

    while (count->buckets[i] != 0) {
        if (quota_is_one_group(count->slots[count->buckets[i] - 1].origin, origin, per)) {
            return count->buckets[i] - 1;
        }
        i = (i + 1) & (count->n_buckets - 1);
    }
    count->slots[count->n_slots++] = (struct quota_slot){.origin = origin, .place = SIZE_MAX};
    count->buckets[i] = count->n_slots;
    return count->n_slots - 1;
}

static bool quota_has_gone(const struct session *session, enum pass pass, uint64_t step) {
    return session->dying || (pass == PASS_SHADOW && session->claimed_shadow == step);
}

// Sessions of one origin may differ in what their queries match.
static int quota_count_sessions(struct quota_count *count, const struct snapshot *snapshot, size_t rule, enum pass pass,
                                uint64_t step) {
    for (struct session *session = snapshot->sessions; session; session = session->hh.next) {
        if (session->origin->slot == QUOTA_NO_SLOT || quota_has_gone(session, pass, step)) {
            continue;
        }
        int r = origin_covers(&snapshot->origins, session->origin, rule, session->query_matches);
        if (r < 0) {
            return r;
        }
        count->slots[session->origin->slot].held += r;
    }
    return 0;
}

static int quota_count_groups(struct quota_count *count, const struct snapshot *snapshot, size_t rule, enum pass pass,
                              uint64_t step) {
    const struct origin_table *origins = &snapshot->origins;
    const struct quota *quota = &origins->policy->quotas[rule - origins->policy->n_timeouts];
    bool by_session = origin_asks_query(origins, rule);

    int r = quota_reserve(count, HASH_COUNT(origins->origins));
    if (r < 0) {
        return r;
    }
    for (struct origin *origin = origins->origins; origin; origin = origin->hh.next) {
        origin->slot = QUOTA_NO_SLOT;
        if (origin_is_covered(origin, rule)) {
            origin->slot = quota_slot_of(count, origin, quota->per);
            count->slots[origin->slot].held += by_session ? 0 : origin->n_living[pass];
        }
    }
    return by_session ? quota_count_sessions(count, snapshot, rule, pass, step) : 0;
}

// --- Which groups are over ------------------------------------------------------------------------------------------

// The key's parts end in NUL, which none of them holds; the label is for people.
static int quota_name(const struct origin *origin, unsigned per, struct strbuf *key, struct strbuf *label) {
    char address[ADDRESS_TEXT_SIZE];

    strbuf_add_char(key, '.');
    for (unsigned i = 0; i < N_GROUP_KEYS; i++) {
        if (!(per & GROUP_KEY_BIT(i))) {
            continue;
        }
        strbuf_add(label, label->len > 0 ? ", " : "");
        switch ((enum group_key)i) {
        case GROUP_APP:
            strbuf_add_char(key, origin->group->key.app >= 0 ? 'a' : 'n');
            strbuf_add(key, origin->group->label);
            strbuf_add(label, origin->group->label);
            break;
        case GROUP_USER:
            strbuf_add(key, origin->key.user);
            escape_text(label, origin->key.user);
            break;
        case GROUP_DATABASE:
            strbuf_add(key, origin->key.database);
            escape_text(label, origin->key.database);
            break;
        case GROUP_CLIENT_ADDR:
            address_format(&origin->key.client, address);
            strbuf_add(key, address);
            strbuf_add(label, address);
            break;
        case GROUP_APPLICATION_NAME:
            strbuf_add(key, origin->key.application_name);
            escape_quoted(label, origin->key.application_name);
            break;
        case N_GROUP_KEYS_:
            break;
        }
        strbuf_add_char(key, '\0');
    }
    int r = strbuf_error(key);
    return r < 0 ? r : strbuf_error(label);
}

static int quota_remember(struct quota_group **memory, struct strbuf *key, struct strbuf *label, bool has_label,
                          struct quota_group **ret) {
    struct quota_group *group = calloc(1, sizeof(*group));
    if (!group) {
        return -ENOMEM;
    }
    group->n_key = key->len;
    group->key = strbuf_take(key);
    group->label = has_label ? strbuf_take(label) : NULL;
    if (group->key && (group->label || !has_label)) {
        HASH_ADD_KEYPTR(hh, *memory, group->key, group->n_key, group);
    }
    if (!group->hh.tbl) {
        quota_group_free(memory, group);
        return -ENOMEM;
    }
    *ret = group;
    return 0;
}

static int quota_recall(const struct snapshot *snapshot, const struct origin *origin, unsigned per, enum pass pass,
                        struct quota_group **memory, usec_t now, struct quota_group **ret) {
    CLEANUP(strbuf_deinit) struct strbuf key = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf label = STRBUF_EMPTY;
    struct quota_group *group = NULL;

    int r = quota_name(origin, per, &key, &label);
    if (r < 0) {
        return r;
    }
    HASH_FIND(hh, *memory, strbuf_str(&key), key.len, group);
    if (!group && pass == PASS_ACTING) {
        r = quota_remember(memory, &key, &label, per != 0, &group);
        if (r < 0) {
            return r;
        }
        group->over_since = now;
    }
    if (group && pass == PASS_ACTING) {
        group->seen = snapshot->generation;
    }
    *ret = group;
    return 0;
}

static int quota_compare_held(const void *pa, const void *pb) {
    const struct quota_over *a = pa, *b = pb;
    return a->held != b->held ? (a->held > b->held ? -1 : 1) : a->slot < b->slot ? -1 : a->slot > b->slot;
}

static int quota_compare_over(const void *pa, const void *pb) {
    const struct quota_over *a = pa, *b = pb;

    if (a->held != b->held) {
        return a->held > b->held ? -1 : 1;
    }
    int c = memcmp(a->group->key, b->group->key, MIN(a->group->n_key, b->group->n_key));
    return c != 0 ? c : a->group->n_key < b->group->n_key ? -1 : a->group->n_key > b->group->n_key;
}

static int quota_list_over(struct quota_count *count, int64_t allowed) {
    for (size_t i = 0; i < count->n_slots; i++) {
        if (count->slots[i].held <= allowed) {
            continue;
        }
        int r = ARRAY_RESERVE(count->over, count->over_capacity, count->n_over);
        if (r < 0) {
            return r;
        }
        count->over[count->n_over++] = (struct quota_over){.slot = i, .held = count->slots[i].held};
    }
    if (count->n_over > QUOTA_MAX_OVER) {
        qsort(count->over, count->n_over, sizeof(*count->over), quota_compare_held);
        count->n_over = QUOTA_MAX_OVER;
    }
    return 0;
}

int quota_find_over(struct quota_count *count, const struct snapshot *snapshot, size_t rule, enum pass pass,
                    uint64_t step, struct quota_group **memory, usec_t now) {
    const struct policy *policy = snapshot->origins.policy;
    const struct quota *quota = &policy->quotas[rule - policy->n_timeouts];
    struct quota_group *group, *next;
    size_t n = 0;

    int r = quota_count_groups(count, snapshot, rule, pass, step);
    if (r == 0) {
        r = quota_list_over(count, quota_allowed(quota, &snapshot->facts));
    }
    for (size_t i = 0; r == 0 && i < count->n_over; i++) {
        struct quota_over *over = &count->over[i];
        r = quota_recall(snapshot, count->slots[over->slot].origin, quota->per, pass, memory, now, &over->group);
        if (r == 0 && over->group) {
            count->over[n++] = *over;
        }
    }
    if (r < 0) {
        return r;
    }
    count->n_over = n;
    if (n > 1) {
        qsort(count->over, n, sizeof(*count->over), quota_compare_over);
    }
    for (size_t i = 0; i < n; i++) {
        count->slots[count->over[i].slot].place = i;
    }
    if (pass == PASS_ACTING) {
        HASH_ITER(hh, *memory, group, next) {
            if (group->seen != snapshot->generation) {
                quota_group_free(memory, group);
            }
        }
    }
    return 0;
}

// --- Whom to evict --------------------------------------------------------------------------------------------------

static int quota_compare_candidates(const void *pa, const void *pb) {
    const struct candidate *a = pa, *b = pb;

    if (a->place != b->place) {
        return a->place < b->place ? -1 : 1;
    }
    if (a->rank != b->rank) {
        return a->rank < b->rank ? -1 : 1;
    }
    if (a->order != b->order) {
        return a->order < b->order ? -1 : 1;
    }
    if (a->session->id.id != b->session->id.id) {
        return a->session->id.id < b->session->id.id ? -1 : 1;
    }
    return a->session->id.since < b->session->id.since ? -1 : a->session->id.since > b->session->id.since;
}

static size_t quota_rank(const struct quota *quota, enum session_state state) {
    size_t i = 0;

    while (i < quota->n_evict && quota->evict[i] != state) {
        i++;
    }
    return i;
}

static int64_t quota_order(const struct quota *quota, const struct session *session, usec_t age) {
    switch (quota->victims) {
    case VICTIMS_LONGEST:
        return age > INT64_MAX ? INT64_MIN : -(int64_t)age;
    case VICTIMS_OLDEST:
        return session->id.since;
    case VICTIMS_NEWEST:
        return session->id.since == INT64_MIN ? INT64_MAX : -session->id.since;
    case N_VICTIMS_:
        break;
    }
    return 0;
}

// 1 and *ret, 0: not to be evicted, or -ENOMEM.
static int quota_make_candidate(const struct quota_count *count, const struct snapshot *snapshot, size_t rule,
                                struct session *session, struct candidate *ret) {
    const struct origin_table *origins = &snapshot->origins;
    const struct quota *quota = &origins->policy->quotas[rule - origins->policy->n_timeouts];
    size_t slot = session->origin->slot, rank = quota_rank(quota, session->state);
    usec_t age;

    if (slot == QUOTA_NO_SLOT || count->slots[slot].place == SIZE_MAX || rank == quota->n_evict ||
        !session_age(snapshot, session, SESSION_TIME_STATE_CHANGE, &age) || age < quota->min_idle) {
        return 0;
    }
    *ret = (struct candidate){
        .rule = rule,
        .session = session,
        .age = age,
        .time = SESSION_TIME_STATE_CHANGE,
        .place = count->slots[slot].place,
        .rank = rank,
        .order = quota_order(quota, session, age),
    };
    return origin_covers(origins, session->origin, rule, session->query_matches);
}

int quota_find(struct quota_count *count, const struct snapshot *snapshot, size_t rule, enum pass pass, uint64_t step,
               usec_t now, struct candidate_list *list) {
    list->n_items = 0;
    if (count->n_over == 0) {
        return 0;
    }
    for (struct session *session = snapshot->sessions; session; session = session->hh.next) {
        struct candidate candidate;
        if (session->generation != snapshot->generation || quota_has_gone(session, pass, step) ||
            session->hold_until > now) {
            continue;
        }
        int r = quota_make_candidate(count, snapshot, rule, session, &candidate);
        if (r > 0) {
            r = ARRAY_RESERVE(list->items, list->capacity, list->n_items);
            if (r == 0) {
                list->items[list->n_items++] = candidate;
            }
        }
        if (r < 0) {
            return r;
        }
    }
    if (list->n_items > 1) {
        qsort(list->items, list->n_items, sizeof(*list->items), quota_compare_candidates);
    }
    for (size_t i = 0; i < list->n_items; i++) {
        struct quota_over *over = &count->over[list->items[i].place];
        over->first = over->n++ == 0 ? i : over->first;
    }
    return 0;
}
