/* Ranks: processes, on one machine or on several, that do one task together.
 *
 * A command that was started alone is rank 0 of 1. What carries messages between more of them is a table that the
 * command fills (cli/ranks_mpi.c), so that the library calls no MPI. Messages go from one rank to another and are taken
 * in an order that the receiver decides: no result depends on which arrives first.
 *
 * A rank that waits for another longer than the time limit asks which rank that one waits for, and so on, until one
 * does not answer: the error names that rank. */
#ifndef DM_CORE_RANKS_H
#define DM_CORE_RANKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

#define DM_RANKS_MAX 256u

typedef enum dm_rank_tag { /* what a message is about; messages with one tag keep their order */
                           DM_RANK_AGREE = 1,
                           DM_RANK_GRADIENT,
                           DM_RANK_WEIGHTS,
                           DM_RANK_MOMENTS,
                           DM_RANK_ITEMS,
                           DM_RANK_STATE,
                           DM_RANK_WORK,
                           DM_RANK_ASK,
                           DM_RANK_ANSWER
} dm_rank_tag;

typedef struct dm_rank_message { /* under way */
    uint64_t room[2];            /* the transport's own; all 0: nothing is under way */
    unsigned peer;
} dm_rank_message;

/* What carries messages. Errors are fatal to the transport: it ends the process. */
typedef struct dm_ranks {
    unsigned self, count;
    /* Start a message; the data must stay until dm_rank_done. */
    void (*send)(dm_rank_message *m, unsigned to, dm_rank_tag tag, const void *data, size_t bytes);
    void (*receive)(dm_rank_message *m, unsigned from, dm_rank_tag tag, void *data, size_t bytes);
    bool (*done)(dm_rank_message *m); /* fine when nothing is under way */
    /* Has a message with that tag arrived, from whom, how long? */
    bool (*arrived)(dm_rank_tag tag, unsigned *from, size_t *bytes);
} dm_ranks;

/* The ranks that this process is one of. */
const dm_ranks *dm_ranks_here(void);
/* Sets them: once, when the command starts, to a table that stays valid; NULL: alone, as in a child process. */
void dm_ranks_use(const dm_ranks *ranks);

/* Sets the time limit of waiting, in seconds, above 0; it is 600 before the first call. */
void dm_ranks_limit(double seconds);

/* Waits until a message is done. `what`, in an error: "the gradient". */
dm_status dm_ranks_wait(dm_rank_message *m, const char *what, dm_error *err);
dm_status dm_ranks_wait_all(dm_rank_message *m, size_t n, const char *what, dm_error *err);

/* For a loop that waits for a rank by another way: whoever asks is answered that this one waits for `peer`. */
void dm_ranks_answer(unsigned peer);

/* Sends or receives one message and waits until it is done. bytes may be 0: nothing is sent. */
dm_status dm_ranks_send(unsigned to, dm_rank_tag tag, const void *data, size_t bytes, const char *what, dm_error *err);
dm_status dm_ranks_receive(unsigned from, dm_rank_tag tag, void *data, size_t bytes, const char *what, dm_error *err);

/* Sends rank 0's data to all. */
dm_status dm_ranks_share(dm_rank_tag tag, void *data, size_t bytes, const char *what, dm_error *err);

/* What has to be the same on all ranks: a value for each name, "" where it is not known yet. */
#define DM_RANKS_FACTS 3
#define DM_RANKS_FACT 80
typedef struct dm_ranks_fact {
    char name[24], value[DM_RANKS_FACT];
} dm_ranks_fact;

/* All ranks call this after the same stage. DM_OK when every one brings DM_OK and the same facts; else all fail with
 * the first one's error (of the lowest rank), or with the first fact that differs. s != DM_OK: err holds why. */
dm_status dm_ranks_agree(dm_status s, const dm_ranks_fact facts[DM_RANKS_FACTS], dm_error *err);

/* True after a failure that all ranks know of: rank 0 reports it. */
bool dm_ranks_agreed_to_fail(void);
/* Notes a failure that every rank reaches by itself, from the same numbers; returns s. */
dm_status dm_ranks_fail_together(dm_status s);

#endif
