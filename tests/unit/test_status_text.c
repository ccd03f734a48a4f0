// SPDX-License-Identifier: PostgreSQL
#include <string.h>

#include "../../src/cli/status.h"
#include "support/check.h"
#include "util/cleanup.h"
#include "util/escape.h"

static const char document[] =
    "{'version':'1.2.3','started_at':'2026-01-02T03:04:05.678Z','configuration':{'file':'/etc/p.yaml',"
    "'loaded_at':'2026-01-02T03:04:05.678Z','last_reload_ok':false,'last_reload_at':'2026-01-02T04:00:00.000Z',"
    "'enforce':true,'apps':1,'rules':2,'alarms':0},"
    "'pauses':[{'scope':'rule','name':'idle','until':'2026-01-02T05:00:00.000Z','left_seconds':1800.5}],"
    "'targets':[{'target':'db','up':true,'enforcing':true,'standing':'leads','error':null,"
    "'last_poll':'2026-01-02T04:00:01.000Z','findings':[{'level':'warning','detail':'no slot'},"
    "{'level':'info','detail':'unseen'},{'level':'error','reason':'blind','detail':'unseen, an alarm "
    "is'}],'current':true,'server':{'version':'15.18'},"
    "'slots':{'used':90,'usable':97,'usage_percent':93},"
    "'apps':[{'app':'worker','is_app':true,'pool':50,'sessions':41,'active':1,'idle':40,'idle_in_transaction':0,"
    "'longest_idle_seconds':912.3},{'app':'\\u0022x\\\\u{202E}y\\u0022','is_app':false,'pool':null,'sessions':1}],"
    "'rules':[{'name':'idle','action':'terminate','enforcing':true,'paused':true,'covers':41,'matches':3,"
    "'held_back':{'paused':3},'totals':{'outcomes':{'gone':12,'denied':0}}},"
    "{'name':'q','action':'terminate','enforcing':false,'covers':0,'matches':0,'held_back':{},'totals':{}}],"
    "'alarms':[{'name':'slots','group':null,'severity':'critical','value':93,'metric':'usage','unit':'percent'},"
    "{'name':'old','group':'worker','severity':'warning','value':7000000,'metric':'longest_transaction','unit':'"
    "microseconds'},"
    "{'name':'blind','severity':'critical','detail':'sees\\u001b nobody','hint':'GRANT it'}],'n_alarms':3},"
    "{'target':'down','up':false,'locked_out':true,'rules':[{'name':'nothing yet'}],'error':{'kind':'denied',"
    "'message':'no\\u001b[31m slot',"
    "'since':'2026-01-02T04:00:00.000Z'},'current':false}],"
    "'events':[{'ts':'2026-01-02T04:00:02.000Z','message':'db: a\\\\n\\u001bmessage that is long'}]}";

static char *render(const char *text, bool colour, size_t width) {
    CLEANUP(strbuf_deinit) struct strbuf json = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    for (const char *c = text; *c; c++) {
        strbuf_add_char(&json, *c == '\'' ? '"' : *c);
    }
    json_t *status = json_loads(strbuf_str(&json), 0, NULL);
    CHECK_NOT_NULL(status);
    CHECK_EQ(status_text(status, &(struct screen){colour, width}, &sb), 0);
    json_decref(status);
    return strbuf_take(&sb);
}

static void shows_it(void) {
    static const char *const lines[] = {
        "pgvigil 1.2.3, since 2026-01-02 03:04:05 UTC, enforcing\n",
        "/etc/p.yaml, in force since 2026-01-02 03:04:05 UTC: 1 app, 2 rules, 0 alarms\n",
        "the last reload was REFUSED at 2026-01-02 04:00:00 UTC: pgvigil check -c /etc/p.yaml says why\n",
        "PAUSED rule idle until 2026-01-02 05:00:00 UTC, for 30min\n",
        "  db      15.18          90      97   93%  2026-01-02 04:00:01  acts\n",
        "  down    LOCKED OUT      -       -     -  never                -\n",
        "\ndb nearly full\nself-check: no slot\nCRITICAL slots: usage 93%\n",
        "WARNING old of worker: longest_transaction 7.0s\nCRITICAL blind: sees\\x1b nobody; hint: GRANT it\n",
        "  worker              41       1    40           -     15min 12s    50\n",
        "  \"x\\u{202E}y\"         1 ",
        "  idle  PAUSED       41           3  paused 3   gone 12\n",
        "  q     observe       -           -  -          -\n",
        "\ndown\ndown since 2026-01-02 04:00:00 UTC: no\\x1b[31m slot; hint: GRANT pg_monitor TO our role",
        "  2026-01-02 04:00:02 db: a\\n\\x1bmessage that is long\n",
    };
    CLEANUP(freep) char *text = render(document, false, 0);
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        CHECK_CONTAINS(text, lines[i]);
    }
    CLEANUP(freep)
    char *full = render("{'targets':[{'target':'db','up':true,'slots':{'usage_percent':133}}]}", false, 0);
    CHECK_CONTAINS(full, "\ndb FULL\n");
    CHECK_LACKS(text, "unseen");
    CHECK_LACKS(text, "nothing yet");
    CHECK_LACKS(text, "\033");
}

static void fits_a_terminal(void) {
    CLEANUP(freep) char *text = render(document, false, 40);
    CHECK_CONTAINS(text, "\n  2026-01-02 04:00:02 db: a\\n\\x1bmess...\n");
}

static void paints(void) {
    CLEANUP(freep) char *text = render(document, true, 0);
    CHECK_CONTAINS(text, "\033[31mCRITICAL\033[0m slots");
    CHECK_CONTAINS(text, "\033[33mPAUSED\033[0m rule idle");
}

// Whatever is missing or of another kind.
static void takes_anything(void) {
    static const char *const documents[] = {
        "{}",
        "{'targets':{}}",
        "{'targets':[1,null,{'apps':[[]],'rules':[{}],'alarms':[{'value':-5,'unit':'microseconds'}],'findings':7}]}",
        "{'pauses':[{'scope':5,'left_seconds':-1}],'events':[{}],'configuration':[],'started_at':'x'}",
        "{'pauses':[{'left_seconds':1e300}],'targets':[{'slots':{'usage_percent':9999999999}}]}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(documents); i++) {
        check_context("%s", documents[i]);
        CLEANUP(freep) char *text = render(documents[i], true, 80);
        CHECK_NOT_NULL(text);
    }
}

CHECK_MAIN({"shows_it", shows_it}, {"fits_a_terminal", fits_a_terminal}, {"paints", paints},
           {"takes_anything", takes_anything})
