/* What the parts of agent/pairs/pairs.h share: the maker, and a set of digests. */
#ifndef DM_AGENT_PAIRS_PAIRS_INTERNAL_H
#define DM_AGENT_PAIRS_PAIRS_INTERNAL_H

#include "agent/pairs/pairs.h"
#include "core/sha256.h"
#include "core/numbers/block.h"

typedef struct dm_pairs_digest {
    char hex[DM_SHA256_HEX];
} dm_pairs_digest;

/* Distinct digests, numbered in the order of their arrival. */
typedef struct dm_pairs_digests {
    dm_pairs_digest *digest; /* [n] */
    size_t n, capacity;
    uint32_t *slot; /* [2 * capacity] number + 1, by the digest's first digits; 0: free */
} dm_pairs_digests;

/* Finishes the hash and adds its digest. False: no memory. *number: the digest's; *is_new: it was not in the set. */
bool dm_pairs_digests_add(dm_pairs_digests *d, dm_sha256 *hash, size_t *number, bool *is_new);
void dm_pairs_digests_free(dm_pairs_digests *d);

typedef struct dm_pairs_maker {
    const dm_pairs_options *options;
    dm_pairs *out;
    size_t capacity;         /* of out->pair */
    dm_block *blocks;        /* turns, messages and ids that are made here */
    dm_episodes episodes[3]; /* expert, explored, continuations */
    dm_json_doc **docs;      /* [n_docs] of options->pairs */
    size_t n_docs;
    dm_pairs_digests tasks, seen, ids;
    size_t *of_task; /* [of_tasks] pairs kept of each task so far */
    size_t of_tasks;
    dm_env *env; /* that was asked last */
    const char *env_specification;
    dm_error *err;
} dm_pairs_maker;

/* A pair on its way, and the episode of its rejected side, NULL where it is from a file of pairs. */
typedef struct dm_pairs_candidate {
    dm_pair pair;
    const dm_episode *rejected;
    int form;   /* dm_pairs_form, not LEVELS */
    bool given; /* an expert's run of DM_PAIRS_SFT: neither its reward nor the number of its task's runs counts */
} dm_pairs_candidate;

/* pairs_maker.c: memory, and what is kept so far. */
void *dm_pairs_maker_alloc(dm_pairs_maker *m, size_t size); /* zeroed; NULL after filling m->err */
void dm_pairs_maker_drop(dm_pairs_maker *m, dm_pairs_drop why);
dm_status dm_pairs_maker_task(dm_pairs_maker *m, dm_sha256 *identity, size_t *task); /* the number of a task */
dm_status dm_pairs_maker_seen(dm_pairs_maker *m, const dm_pair *p, bool *seen);      /* the same messages already */
dm_status dm_pairs_maker_count(dm_pairs_maker *m, size_t task, bool *full);          /* one more of the task's pairs */
dm_status dm_pairs_maker_keep(dm_pairs_maker *m, const dm_pair *p);

/* pairs_filter.c: what a side is like. */
bool dm_pairs_side_empty(const dm_pairs_side *s);     /* no turn, or white space for one whose tokens are not known */
size_t dm_pairs_side_repeats(const dm_pairs_side *s); /* how often its commonest action with one answer occurs */
size_t dm_pairs_sides_shared(const dm_pairs_side *a, const dm_pairs_side *b); /* leading turns that are the same */
size_t dm_pairs_side_bytes(const dm_pairs_side *s);                           /* of all its messages */
/* Too far apart or too near; DM_PAIRS_DROPS: neither. */
dm_status dm_pairs_maker_filter(dm_pairs_maker *m, const dm_pairs_candidate *c, dm_pairs_drop *why);

/* pairs_degrade.c: inserts turns before rejected's last one. *done: false where it is too short for that. */
dm_status dm_pairs_maker_degrade(dm_pairs_maker *m, dm_pairs_candidate *c, bool *done);

/* pairs_candidate.c: keeps or drops a candidate. */
dm_status dm_pairs_maker_take(dm_pairs_maker *m, dm_pairs_candidate *c);

/* pairs_plan.c: every run's reward becomes the mean over the runs that begin with the same turn. */
dm_status dm_pairs_maker_plan_rewards(dm_pairs_maker *m, dm_episodes *runs);

/* pairs_match.c, pairs_read.c: find the candidates, and pass each to dm_pairs_maker_take. */
dm_status dm_pairs_maker_match(dm_pairs_maker *m);
dm_status dm_pairs_maker_read(dm_pairs_maker *m);

#endif
