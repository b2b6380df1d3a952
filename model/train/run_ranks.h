/* A run on several ranks (core/ranks.h): which shards, parameters and items are whose, and the messages of a step.
 *
 * Every rank holds all weights and computes the shards of one subtree (model/train/shards.h). The parameters are dealt
 * out: the gradient array is cut into buckets, one for what lies before the layers, one for each layer and one for what
 * follows, at multiples of 4096 floats (the norm's chunks), and each bucket into a piece for each rank. As soon as the
 * backward pass has finished a layer, every rank sends each other one its piece of that bucket; the owner adds the
 * pieces up in the tree's order, updates its weights with moments that only it has, and sends the new weights to all.
 * So a rank sends a gradient's worth of floats less its own piece, and its piece of the weights to each other one.
 * Rank 0 alone writes files; it gathers the moments for a checkpoint. */
#ifndef DM_MODEL_TRAIN_RUN_RANKS_H
#define DM_MODEL_TRAIN_RUN_RANKS_H

#include "core/arena.h"
#include "core/ranks.h"
#include "core/threads.h"
#include "model/train/optimizer.h"
#include "model/train/shards.h"

struct dm_run;

typedef struct dm_run_bucket {
    size_t begin, end; /* floats of the gradient array */
    size_t own;        /* where this rank's piece of it begins among this rank's pieces */
} dm_run_bucket;

typedef struct dm_run_ranks {
    unsigned self, count;
    dm_shard_block shards; /* that this rank computes */
    size_t n;              /* buckets; 0: one rank alone */
    dm_run_bucket *bucket;
    size_t own; /* floats in all pieces of this rank */
    float
        *inbox; /* [count - 1][own] what the others send of these pieces' gradient; rank r at r, or r - 1 after self */
    dm_rank_message *sending, *receiving; /* [n][count] */
    char *items;                          /* room for what a rank knows of its items of a batch */
    size_t batch;                         /* items of the batch at hand */
    size_t unsent;                        /* buckets whose gradient is not sent yet: the first so many */
} dm_run_ranks;

/* Rank `rank`'s piece of bucket b, as floats of the gradient array. */
dm_range dm_run_piece(const struct dm_run *r, size_t b, unsigned rank);

/* Floats in all pieces of this rank; and those that it has moments of: all on rank 0, which gathers them. */
size_t dm_run_own_floats(const struct dm_run *r);
size_t dm_run_moments(const struct dm_run *r);

/* Bytes that this rank sends in a step. */
uint64_t dm_run_step_bytes(const struct dm_run *r);

/* More ranks than shards are refused. */
dm_status dm_run_ranks_check(const struct dm_run *r, dm_error *err);

/* Lays out in the arena (measuring or real), after what the run's memory has of results. */
void dm_run_ranks_place(struct dm_run *r, dm_arena *a);

/* Fails on all ranks when one has failed (s, err), or has another version, options, model or data. */
dm_status dm_run_agree(const struct dm_run *r, dm_status s, dm_error *err);

/* ---- of a step or evaluation; on one rank they do nothing ---- */

/* data: [n] of `size` bytes, one for each item of a batch, of which each rank has filled its own: fills all. */
dm_status dm_run_share_items(struct dm_run *r, void *data, size_t size, size_t n, dm_error *err);

/* Numbers of n items, of which each rank has filled those of every `count`-th item, from its own; item i has them from
 * begin[stride * i] up to the next item's, the last one up to `end`. */
typedef struct dm_run_parts {
    void *data;
    size_t size; /* bytes of a number */
    const size_t *begin;
    size_t stride, n, end;
} dm_run_parts;

#define DM_REFERENCE_PARTS "log-probabilities of the reference"

/* Fills all. `what`, in an error: DM_REFERENCE_PARTS. */
dm_status dm_run_share_parts(const struct dm_run *r, const dm_run_parts *parts, const char *what, dm_error *err);

/* A batch of n items begins: the owners get ready to receive. */
void dm_run_gradient_begin(struct dm_run *r, size_t n);
/* The backward pass of this rank's last item has finished the layers from `layer` on, counted from 1; 0: it is done.
 * Sends their gradient, which is final except for dm_shard_merge. */
void dm_run_gradient_ready(struct dm_run *r, size_t layer);
/* Calls dm_run_gradient_ready for the rest and returns with the batch's gradient in this rank's pieces of
 * memory.gradient. */
dm_status dm_run_gradient_end(struct dm_run *r, dm_error *err);

/* The norm of the batch's gradient: every rank's pieces. */
dm_status dm_run_norm(struct dm_run *r, double *norm, dm_error *err);
/* Updates what is this rank's, and gets what is the others'. */
dm_status dm_run_update(struct dm_run *r, const dm_adamw_options *o, double lr, double scale, int64_t t, dm_error *err);
/* What rank 0's caller wants. */
dm_status dm_run_share_stop(struct dm_run *r, dm_error *err);

/* ---- between steps ---- */

/* To rank 0 all moments, for a checkpoint; and from it, with the weights, after it has read one. */
dm_status dm_run_gather_moments(struct dm_run *r, dm_error *err);
dm_status dm_run_share_state(struct dm_run *r, dm_error *err);

#endif
