/* Where output may go: one rule for everything that writes, so that nothing is replaced that another run or a person
 * wrote. */
#ifndef DM_CORE_FILES_PLACE_H
#define DM_CORE_FILES_PLACE_H

#include <stdbool.h>

#include "core/error.h"

/* Both name one file or directory, whatever they are called; false when one of them is not there. */
bool dm_place_same(const char *a, const char *b);

/* Nothing is there, or an empty file, or an empty directory. */
bool dm_place_is_free(const char *path);

/* Fails unless `path` is free or `overwrite` is set. */
dm_status dm_place_check(const char *path, bool overwrite, dm_error *err);

/* Fails when the output is the input (may be NULL), under whatever name: no option allows that. */
dm_status dm_place_apart(const char *output, const char *input, dm_error *err);

#endif
