// SPDX-License-Identifier: PostgreSQL
#pragma once

// A secret that lives in a file: its first line, read anew each time, so that it can be exchanged.

#define SECRET_FILE_MAX 65536 // bytes; the first line counts

// NULL: *ret_why (static text) says what is wrong with the file. Give it back with secret_file_forget().
char *secret_file_read(const char *path, const char **ret_why);
void secret_file_forget(char *secret); // wipes and frees; NULL-safe
