// SPDX-License-Identifier: PostgreSQL
#pragma once

// What a target asks of its server, and what it does with the answers.

#include "target_state.h"

void target_poll(struct target *target, usec_t now); // and asks first who acts, if we mean to or did
void target_look(struct target *target);             // at whom the engine named
// Sends the next chunk if there is one. True: there is something new to dispatch. Not behind a poll that may take its
// time: from there it could not be taken back, and a pause has said that nothing is ended any more.
bool target_act(struct target *target);

// Lets the server go on until it would wait, or is lost.
void target_dispatch(struct target *target, unsigned ready, usec_t now);
