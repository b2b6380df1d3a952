/* Errors are values: a status code and one line for people.
 *
 * Every function of the engine that can fail returns a dm_status and takes a `dm_error *` as its last
 * argument (NULL is allowed and drops the message). The message is one line without a newline: what is
 * wrong, where (file, line or byte, item, turn), what would be right. Library code never prints, exits
 * or aborts. */
#ifndef DM_CORE_ERROR_H
#define DM_CORE_ERROR_H

#include <stdbool.h>

typedef enum dm_status {
    DM_OK = 0,
    DM_ERR_ARGUMENT = -1,    /* a value the caller chose is out of its legal range (exit status 2) */
    DM_ERR_INPUT = -2,       /* the content of a file is broken or contradicts another file */
    DM_ERR_FILE = -3,        /* a file cannot be opened, read, written or renamed */
    DM_ERR_MEMORY = -4,      /* memory is exhausted or a limit is too small */
    DM_ERR_UNSUPPORTED = -5, /* valid, but this build, machine or engine does not support it */
    DM_ERR_NONFINITE = -6,   /* a loss, gradient or weight is NaN or infinite */
    DM_ERR_INTERRUPTED = -7, /* the caller asked to stop */
    DM_ERR_INTERNAL = -8     /* the engine contradicts itself: a bug */
} dm_status;

/* True for what a file says, which is the same the next time; false for what reading it met (a disk, memory), which
 * must never pass for what the file says. */
static inline bool dm_is_of_content(dm_status s)
{
    return s == DM_OK || s == DM_ERR_ARGUMENT || s == DM_ERR_INPUT || s == DM_ERR_UNSUPPORTED;
}

#define DM_ERROR_MAX 1024

typedef struct dm_error {
    dm_status status;
    char message[DM_ERROR_MAX]; /* always NUL-terminated; cut with "..." when longer */
} dm_error;

#if defined(__GNUC__)
#define DM_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define DM_PRINTF(fmt, args)
#endif

/* Fills *err (when not NULL) and returns `status`, so that `return dm_fail(err, ...)` reads well.
 * Control characters in the formatted text are written as '?' so that a hostile file name or token
 * cannot break the line or the terminal. */
dm_status dm_fail(dm_error *err, dm_status status, const char *fmt, ...) DM_PRINTF(3, 4);

/* Puts "prefix: " before the message already in *err (for context that only the caller knows).
 * Returns err->status, or `status` unchanged when err is NULL. */
dm_status dm_fail_context(dm_error *err, dm_status status, const char *fmt, ...) DM_PRINTF(3, 4);

#endif
