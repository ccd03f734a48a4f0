// SPDX-License-Identifier: PostgreSQL
#pragma once

#include "config/config.h"

// Apps and protections of a configuration that has its policy and its tree.
void scope_of(const struct config *config, char ret[static CONFIG_SCOPE_SIZE]);
