// SPDX-License-Identifier: PostgreSQL
//
// A getaddrinfo() of our own takes the place of libc's. Names that start with "dead" hang like those of a name server
// that never answers, until they are let go.
#include "daemon/resolver.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/oom.h"
#include "threads.h"

#define PATIENCE (20 * USEC_PER_SEC)

static pthread_mutex_t fake_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t fake_cond = PTHREAD_COND_INITIALIZER;
static unsigned fake_n_calls, fake_n_hanging;
static bool fake_is_released;

typedef int (*getaddrinfo_fn)(const char *name, const char *service, const struct addrinfo *hints,
                              struct addrinfo **ret);

int getaddrinfo(const char *restrict name, const char *restrict service, const struct addrinfo *restrict hints,
                struct addrinfo **restrict ret) {
    (void)pthread_mutex_lock(&fake_mutex);
    fake_n_calls++;
    if (strncmp(name, "dead", 4) == 0) {
        fake_n_hanging++;
        (void)pthread_cond_broadcast(&fake_cond);
        while (!fake_is_released) {
            (void)pthread_cond_wait(&fake_cond, &fake_mutex);
        }
        fake_n_hanging--;
        (void)pthread_mutex_unlock(&fake_mutex);
        return EAI_AGAIN;
    }
    (void)pthread_mutex_unlock(&fake_mutex);
    if (strcmp(name, "broken") == 0) {
        errno = EMFILE;
        return EAI_SYSTEM;
    }
    if (strcmp(name, "many") != 0) {
        getaddrinfo_fn real = NULL;
        *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
        return real(name, service, hints, ret);
    }
    // 40 different addresses, each three times, in one allocation a piece, as freeaddrinfo() wants it.
    struct addrinfo *first = NULL;
    for (unsigned i = 0; i < 120; i++) {
        struct addrinfo *info = calloc(1, sizeof *info + sizeof(struct sockaddr_in));
        struct sockaddr_in *in = (struct sockaddr_in *)(info + 1);
        *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000000 + i / 3)};
        *info = (struct addrinfo){
            .ai_family = AF_INET, .ai_addr = (struct sockaddr *)in, .ai_addrlen = sizeof *in, .ai_next = first};
        first = info;
    }
    *ret = first;
    return 0;
}

static void fake_reset(void) {
    (void)pthread_mutex_lock(&fake_mutex);
    fake_n_calls = 0;
    fake_is_released = false;
    (void)pthread_mutex_unlock(&fake_mutex);
}

static void fake_release(void) {
    (void)pthread_mutex_lock(&fake_mutex);
    fake_is_released = true;
    (void)pthread_cond_broadcast(&fake_cond);
    (void)pthread_mutex_unlock(&fake_mutex);
}

static void fake_wait_hanging(unsigned n) {
    (void)pthread_mutex_lock(&fake_mutex);
    while (fake_n_hanging < n) {
        (void)pthread_cond_wait(&fake_cond, &fake_mutex);
    }
    (void)pthread_mutex_unlock(&fake_mutex);
}

struct asked {
    struct loop *loop;
    struct resolver_query *query;
    unsigned stop_after; // the loop, with so many answers
    unsigned n;
    size_t n_addresses;
    char addresses[20][64];
    char error[100];
};

static void answered(void *userdata, const struct resolver_answer *answer, usec_t now) {
    struct asked *asked = userdata;
    (void)now;
    asked->n_addresses = answer->n_addresses;
    CHECK_LE(answer->n_addresses, ARRAY_SIZE(asked->addresses));
    for (size_t i = 0; i < answer->n_addresses; i++) {
        snprintf(asked->addresses[i], sizeof asked->addresses[i], "%s", answer->addresses[i]);
    }
    CHECK_EQ(answer->error == NULL, answer->n_addresses > 0);
    snprintf(asked->error, sizeof asked->error, "%s", answer->error ? answer->error : "");
    if (++asked->n >= asked->stop_after) {
        loop_stop(asked->loop);
    }
}

static void freeing(void *userdata, const struct resolver_answer *answer, usec_t now) {
    struct asked *asked = userdata;
    answered(asked, answer, now);
    asked->query = resolver_query_free(asked->query);
}

static struct asked ask(struct loop *loop, struct resolver *resolver, const char *name, usec_t timeout) {
    struct asked asked = {.loop = loop};
    asked.query = resolver_query_new(resolver, name, loop_now(loop) + timeout, answered, &asked);
    CHECK_NOT_NULL(asked.query);
    CHECK_EQ(asked.n, 0);
    CHECK_EQ(loop_run(loop), 0);
    CHECK_EQ(asked.n, 1);
    asked.query = resolver_query_free(asked.query);
    return asked;
}

static void real_names(void) {
    fake_reset();
    struct loop *loop = loop_new();
    struct resolver *resolver = resolver_new(loop);
    struct asked asked = ask(loop, resolver, "localhost", PATIENCE);
    CHECK_GE(asked.n_addresses, 1);
    for (size_t i = 0; i < asked.n_addresses; i++) {
        CHECK(strcmp(asked.addresses[i], "127.0.0.1") == 0 || strcmp(asked.addresses[i], "::1") == 0);
    }
    asked = ask(loop, resolver, "192.0.2.1", PATIENCE);
    CHECK_EQ(asked.n_addresses, 1);
    CHECK_STR(asked.addresses[0], "192.0.2.1");
    asked = ask(loop, resolver, "fd00::0:1", PATIENCE);
    CHECK_STR(asked.addresses[0], "fd00::1");
    resolver_free(resolver);
    loop_free(loop);
}

static void failures(void) {
    fake_reset();
    struct loop *loop = loop_new();
    struct resolver *resolver = resolver_new(loop);
    struct asked asked = ask(loop, resolver, "", PATIENCE);
    CHECK_EQ(asked.n_addresses, 0);
    CHECK_STR(asked.error, gai_strerror(EAI_NONAME));
    asked = ask(loop, resolver, "broken", PATIENCE);
    CHECK_STR(asked.error, strerror(EMFILE));
    resolver_free(resolver);
    loop_free(loop);
}

static void bounded_and_distinct(void) {
    fake_reset();
    struct loop *loop = loop_new();
    struct resolver *resolver = resolver_new(loop);
    struct asked asked = ask(loop, resolver, "many", PATIENCE);
    CHECK_EQ(asked.n_addresses, 16);
    CHECK_STR(asked.addresses[0], "127.0.0.39");
    CHECK_STR(asked.addresses[15], "127.0.0.24");
    resolver_free(resolver);
    loop_free(loop);
}

// Both the query that times out and the one that is taken back leave their look-up behind, and others go on.
static void name_server_never_answers(void) {
    unsigned n_threads = threads_count();
    fake_reset();
    struct loop *loop = loop_new();
    struct resolver *resolver = resolver_new(loop);
    usec_t start = loop_now(loop);
    struct asked asked = ask(loop, resolver, "dead", 2 * USEC_PER_MSEC);
    CHECK_STR(asked.error, "timed out");
    CHECK_GE(loop_now(loop), start + 2 * USEC_PER_MSEC);
    struct resolver_query *query = resolver_query_new(resolver, "dead-too", USEC_INFINITY, answered, NULL);
    CHECK_NOT_NULL(query);
    resolver_query_free(query);
    CHECK_NULL(resolver_query_free(NULL));
    CHECK_EQ(ask(loop, resolver, "192.0.2.1", PATIENCE).n_addresses, 1);
    fake_wait_hanging(2);
    CHECK_EQ(fake_n_calls, 3);
    resolver_free(resolver); // both are still under way
    loop_free(loop);
    fake_release();
    threads_wait(n_threads);
    CHECK_NULL(resolver_free(NULL));
}

// However often a dead name is asked for: one look-up. When it ends it answers whoever waits then.
static void joins_the_same_name(void) {
    fake_reset();
    struct loop *loop = loop_new();
    struct resolver *resolver = resolver_new(loop);
    for (int i = 0; i < 3; i++) {
        CHECK_STR(ask(loop, resolver, "dead", 1).error, "timed out");
    }
    struct asked asked[2] = {{.loop = loop, .stop_after = 9}, {.loop = loop}};
    for (size_t i = 0; i < 2; i++) {
        asked[i].query = resolver_query_new(resolver, "dead", USEC_INFINITY, freeing, &asked[i]);
    }
    fake_wait_hanging(1);
    CHECK_EQ(fake_n_calls, 1);
    fake_release();
    CHECK_EQ(loop_run(loop), 0);
    for (size_t i = 0; i < 2; i++) {
        CHECK_EQ(asked[i].n, 1);
        CHECK_STR(asked[i].error, gai_strerror(EAI_AGAIN));
        CHECK_NULL(asked[i].query);
    }
    resolver_free(resolver);
    loop_free(loop);
}

// More dead names than places: the rest waits, and its deadline holds; a place that is freed is given on.
static void bounded_in_flight(void) {
    unsigned n_threads = threads_count();
    fake_reset();
    struct loop *loop = loop_new();
    struct resolver *resolver = resolver_new(loop);
    struct asked asked[40] = {0};
    for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
        char name[20];
        snprintf(name, sizeof name, "dead%zu", i);
        asked[i].loop = loop;
        asked[i].stop_after = 2; // not by themselves
        asked[i].query = resolver_query_new(resolver, name, USEC_INFINITY, answered, &asked[i]);
        CHECK_NOT_NULL(asked[i].query);
    }
    CHECK_STR(ask(loop, resolver, "192.0.2.1", 2 * USEC_PER_MSEC).error, "timed out");
    fake_wait_hanging(16);
    CHECK_EQ(fake_n_calls, 16);
    struct asked last = {.loop = loop};
    last.query = resolver_query_new(resolver, "192.0.2.1", loop_now(loop) + PATIENCE, answered, &last);
    fake_release();
    CHECK_EQ(loop_run(loop), 0);
    CHECK_EQ(last.n_addresses, 1);
    for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
        CHECK_LE(asked[i].n, 1);
        resolver_query_free(asked[i].query);
    }
    resolver_query_free(last.query);
    resolver_free(resolver);
    loop_free(loop);
    threads_wait(n_threads);
}

// Without memory for the look-up the query still gets its answer.
static void survives_oom(void) {
    fake_reset();
    struct loop *loop = loop_new();
    struct resolver *resolver = resolver_new(loop);
    for (unsigned n = 1;; n++) {
        struct asked asked = {.loop = loop};
        oom_arm(n);
        asked.query = resolver_query_new(resolver, "192.0.2.1", USEC_INFINITY, answered, &asked);
        bool has_failed = oom_disarm();
        if (asked.query) {
            CHECK_EQ(loop_run(loop), 0);
            CHECK_EQ(asked.n, 1);
            CHECK_EQ(asked.n_addresses, has_failed ? 0 : 1);
            resolver_query_free(asked.query);
        }
        if (!has_failed) {
            CHECK_GT(n, 3u);
            break;
        }
    }
    resolver_free(resolver);
    loop_free(loop);
}

CHECK_MAIN({"real_names", real_names}, {"failures", failures}, {"bounded_and_distinct", bounded_and_distinct},
           {"name_server_never_answers", name_server_never_answers}, {"joins_the_same_name", joins_the_same_name},
           {"bounded_in_flight", bounded_in_flight}, {"survives_oom", survives_oom})
