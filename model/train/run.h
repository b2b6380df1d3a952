/* A training run: what it opens, where everything lies in memory, and its steps.
 *
 *   dm_run_open     reads configuration, tokenizer, data; measures the memory plan (nothing big is allocated)
 *   dm_run_place    allocates the arena that was planned, reads the weights
 *   dm_run_reference    the reference policy's log-probabilities of every item, once
 *   dm_run_steps    evaluation, steps, checkpoints
 *   dm_run_close    gives everything back; fine at any stage
 *
 * Scoring (dmpo_score, model/train/score.c) is a run without gradients: opened with dm_run_open_score. */
#ifndef DM_MODEL_TRAIN_RUN_H
#define DM_MODEL_TRAIN_RUN_H

#include <stdbool.h>

#include "dmpo.h"
#include "io/data/dataset.h"
#include "io/json_writer.h"
#include "model/loss/mismatch.h"
#include "model/loss/objective.h"
#include "model/train/options.h"
#include "model/train/run_ranks.h"
#include "model/train/transcript.h"
#include "model/formats/loaded_model.h"

#define DM_EVAL_GROUP 64 /* most items that an evaluation takes as one batch */

typedef struct dm_run_references { /* reference log-probabilities of a data set's items */
    float *logp;                   /* all action tokens: item 0 chosen, item 0 rejected, item 1 chosen, ... */
    size_t *begin;                 /* [2 * items] where side s of item i starts: begin[2*i + s] */
    size_t n;                      /* floats in logp */
    float *second;                 /* as logp, of the second reference; NULL: there is none */
} dm_run_references;

/* Items that a run trains on, or is evaluated on. */
typedef struct dm_run_set {
    dm_dataset data;       /* n == 0: none */
    dm_dataset mismatched; /* KTO: item for item; else n == 0 */
    dm_run_references reference;
    dm_run_references mismatched_reference; /* without second ones */
} dm_run_set;

typedef struct dm_run_models {
    dm_loaded_model policy;
    dm_loaded_model reference[2]; /* source NULL: the initial policy; of the second: there is none */
    bool same_base[2];            /* reference[i] has the policy's base */
    bool new_adapter;             /* the policy's adapter begins at 0: the initial policy is the base */
    dm_config config;
    dm_param_layout layout;                /* of the base's weights */
    const dm_param_layout *trained_layout; /* of what is trained: `layout`, or the adapter's */
} dm_run_models;

typedef struct dm_run_data {
    dm_tokenizer *tokenizer; /* NULL for pre-tokenized data without a tokenizer */
    dm_chat_template chat;
    size_t tokenizer_bytes; /* that a file's tokenizer takes once more at the end, to be written as a directory's */
    dm_pack_size pack_max;  /* each field the maximum over all items */
    size_t train_tokens, train_rows; /* of all training items, before and after packing */
} dm_run_data;

/* What the plan places in the arena. */
typedef struct dm_run_memory {
    dm_arena arena;
    dm_network_size network_size;
    float *weights;                /* [layout.floats] the base's */
    float *trained;                /* [trained_layout->floats] the base's weights or the adapter's values */
    float *gradient;               /* like trained; in an overlay [network.split]; scoring: the base's weights */
    float *adam_m, *adam_v;        /* [dm_run_moments] AdamW's, one directly after the other; scoring: NULL */
    float *norm_partial;           /* for dm_grad_norm */
    uint32_t *order;               /* [train.data.n] in which the items of epoch order_epoch come */
    int64_t order_epoch;           /* -1: none yet */
    float *level[DM_SHARD_LEVELS]; /* [0]: gradient, or NULL in an overlay; others like trained, for shards */
    dm_loss_pair *results;         /* [results_room] what each item of a batch comes to */
    double *scores[2];             /* [results_room] of each item, chosen and rejected; kto and kto-pair only */
    size_t results_room;
    dm_pack pack;
    dm_objective objective;
    dm_network network;
} dm_run_memory;

typedef struct dm_run_output {
    dmpo_event_fn event;
    void *event_context;
    int metrics_fd, tensorboard_fd, transcript_fd; /* -1: none */
    dm_transcript_head transcript_head;
    dm_transcript_record transcript_last; /* step 0: none yet */
    dm_text line;                         /* one metrics line, reused */
} dm_run_output;

typedef struct dm_train_spent {        /* by a run of rounds since it was started */
    double playing, learning;          /* seconds; the reference's and a critic's passes are learning */
    int64_t episodes, sampled, learnt; /* the latter two in tokens: of the agent's words; of whole trajectories */
} dm_train_spent;

typedef struct dm_train_result { /* dm_train_result, with its metrics */
    int64_t steps;
    dmpo_metrics before, after; /* step -1: there is none */
    char weights_sha256[DM_SHA256_HEX], data_sha256[DM_SHA256_HEX], model_sha256[DM_SHA256_HEX];
    char transcript_sha256[DM_SHA256_HEX]; /* its root; "": there is none */
    uint64_t planned_memory, peak_memory;
    dm_train_spent spent;
} dm_train_result;

/* Who watches a run's steps, for traces (model/trace/record.h). */
typedef struct dm_run_watch {
    void *context;
    dm_tap tap;                            /* hears the forward and backward pass of every item of a step, once */
    void (*item)(void *context, size_t j); /* item j of the batch comes next */
    /* Its loss and coefficients are known; reference: NULL members in SFT. */
    void (*scored)(void *context, size_t j, const dm_loss_pair *l, const dm_loss_batch *batch,
                   const dm_objective_reference *reference);
    void (*clipped)(void *context, double norm, double factor); /* the gradient is whole; the update comes next */
} dm_run_watch;

struct dm_run_policy; /* model/train/rounds.h */

typedef struct dm_run {
    const dm_engine *engine;
    dm_train_options options;
    bool score_only; /* forward only; any data form; the reference only when one is named */
    dm_loss_options loss;
    dm_run_ranks ranks;
    dm_run_models models;
    dm_run_data data;
    dm_run_set train, eval;
    dm_run_memory memory;
    dm_run_output output;
    dmpo_plan plan;
    int64_t steps, steps_per_epoch, warmup;
    const dm_run_watch *watch;    /* NULL: no one does */
    bool stop;                    /* the callback asked to stop */
    struct dm_run_policy *policy; /* what it learns from while it acts; NULL: it learns from a file */
} dm_run;

dm_status dm_run_open(dm_run *r, const dm_engine *e, const dm_train_options *o, dmpo_event_fn event, void *context,
                      dm_error *err);
/* As rank `self` of `count`, to be planned only. */
dm_status dm_run_open_as(dm_run *r, const dm_engine *e, const dm_train_options *o, unsigned self, unsigned count,
                         dm_error *err);
dm_status dm_run_open_score(dm_run *r, const dm_engine *e, const dm_train_options *o, dmpo_event_fn event,
                            void *context, dm_error *err);
dm_status dm_run_place(dm_run *r, dm_error *err);
/* Back to the state before the first step, for a run whose state was lost. */
dm_status dm_run_restart(dm_run *r, dm_error *err);
void dm_run_close(dm_run *r);

/* ---- the stages of opening ---- */
/* Policy and references, what is trained, and the layout of the weights (model/train/run_models.c). */
dm_status dm_run_open_models(dm_run *r, dm_error *err);
/* Tokenizer, items, their sizes, and from their number the steps (model/train/run_data.c). */
dm_status dm_run_open_data(dm_run *r, dm_error *err);
/* Its first part: tokenizer and template. */
dm_status dm_run_open_tokenizer(dm_run *r, dm_error *err);
/* Chooses what is recomputed so that the run fits options.memory; fills plan and memory.network_size
 * (model/train/memory_plan.c). */
dm_status dm_run_plan(dm_run *r, dm_error *err);
/* Allocates the planned arena and points everything into it. */
dm_status dm_run_allocate(dm_run *r, dm_error *err);

/* Fills train.reference, eval.reference and those of the mismatched sequences (from the cache file when its key
 * matches, else by running the reference policy, then writing the cache); does nothing where they have no room. A
 * reference with another base than the policy's has its weights in memory.gradient for that time. */
dm_status dm_run_reference(dm_run *r, dm_error *err);

/* dm_run_open, dm_run_place, dm_run_reference: ready for its first step. Closed by the caller, after a failure too. */
dm_status dm_run_ready(dm_run *r, const dm_engine *e, const dm_train_options *o, dmpo_event_fn event, void *context,
                       dm_error *err);

/* Of reference 0 or 1. */
const char *dm_run_reference_sha256(const dm_run *r, int which);

/* One batch of training items: the gradient of its mean loss to r's gradient, means to *out. */
dm_status dm_run_gradient(dm_run *r, const uint32_t *items, size_t n, dmpo_metrics *out, dm_error *err);

/* Where dm_run_gradient left it. */
dm_gradient dm_run_gradient_at(const dm_run *r);

/* The pass over the items, from 0, that step `step` is of: the stream of the random numbers that shuffle them. */
int64_t dm_run_epoch(const dm_run *r, int64_t step);

/* The items of step `step`, in their order; none where a round left out so many that its batches are fewer. */
const uint32_t *dm_run_batch(dm_run *r, int64_t step, size_t *n);

/* One update, of step `step` (from 0), with these training items: gradient, clipping, AdamW. */
dm_status dm_run_learn(dm_run *r, const uint32_t *items, size_t n, int64_t step, dmpo_metrics *out, dm_error *err);

/* Step `step` (from 0): the next batch of the file or round, and its update, a critic's too. Without items nothing
 * happens: *out has the number of the step and zeros. */
dm_status dm_run_step(dm_run *r, int64_t step, dmpo_metrics *out, dm_error *err);

/* Means over all evaluation items, or held-out episodes, under the current weights, those after `step` steps. */
dm_status dm_run_evaluate(dm_run *r, int64_t step, dmpo_metrics *out, dm_error *err);

/* Runs steps [first, r->steps) with the checkpoints and evaluations that the options ask for. */
dm_status dm_run_steps(dm_run *r, int64_t first, dm_train_result *result, dm_error *err);

/* ---- output directory (model/train/checkpoint.c) ---- */
/* Fails when the directory was removed, moved or replaced since the run opened it. */
dm_status dm_run_check_output(const dm_run *r, dm_error *err);
/* Writes output/checkpoint: beside, then renamed; the previous one stays as output/checkpoint.old, or is kept. An older
 * one there that cannot be removed stays in its place, and an event says so. Rank 0 writes. */
dm_status dm_checkpoint_write(dm_run *r, int64_t step, const dm_train_result *result, dm_error *err);
/* Reads the newest whole checkpoint; an event names those that are damaged. *step: steps done, 0 when there is none.
 * Verifies every checksum and that the run is the same one. Fills result->before, result->after.step with the newest
 * evaluation in metrics.jsonl (-1: none), and *place with the name of its directory. All damaged: an error that names
 * the first. */
dm_status dm_checkpoint_read(dm_run *r, const char **place, int64_t *step, dm_train_result *result, dm_error *err);
/* Removes all checkpoints: a run starts over. */
dm_status dm_checkpoint_discard(const dm_run *r, dm_error *err);
/* A checkpoint at `dir`, into the run's memory and nothing else: no file is touched. *step: after which it was made. */
dm_status dm_checkpoint_load(dm_run *r, const char *dir, int64_t *step, dm_error *err); /* a critic's weights, too */
/* Names of earlier ones that `keep-checkpoints` leaves in output: this and their step. Gives the step, or -1. */
int64_t dm_checkpoint_step(const char *output, const char *name); /* of that directory in output; -1: it is none */
/* Loads the newest checkpoint in `output` of at most `most` steps, if there is one. *step: steps done. */
dm_status dm_checkpoint_load_nearest(dm_run *r, const char *output, int64_t most, int64_t *step, dm_error *err);
#define DM_CHECKPOINT_KEPT "checkpoint-"
int64_t dm_checkpoint_kept_step(const char *name);
/* Removes all but output/checkpoint and those that are kept: the run is done. An event names what stays. */
void dm_checkpoint_keep_one(dm_run *r);
/* The finished model in output/. */
dm_status dm_run_write_model(dm_run *r, char hex[DM_SHA256_HEX], dm_error *err);

/* ---- metrics (model/train/metrics.c) ---- */
/* Appends a line to output/metrics.jsonl, and to TensorBoard's file when it is open; kind "train" or "eval".
 * Allocates nothing after the first call. */
dm_status dm_metrics_write(dm_run *r, const char *kind, const dmpo_metrics *m, dm_error *err);
/* The line as a JSON object; key as for the writer. */
void dm_metrics_json(dm_json_writer *w, const char *key, const char *kind, const dmpo_metrics *m);

/* TensorBoard's file in the output directory (option `tensorboard`). */
#define DM_TENSORBOARD_FILE "events.out.tfevents.dmpo"
int64_t dm_run_tensorboard_size(const dm_run *r); /* 0: there is none */
/* Cuts it to the bytes that a checkpoint knows (0: an older run's goes away), and opens it when the run is to write
 * it. */
dm_status dm_run_tensorboard_open(dm_run *r, int64_t bytes, dm_error *err);

/* ---- transcript (model/train/transcript_run.c); where a run has none the functions do nothing ---- */
/* Of this run, whose state is the one before the first step. */
void dm_run_transcript_head(const dm_run *r, dm_transcript_head *h);
/* The record of the step that was just made, and its bytes; before: NULL for the first one. */
void dm_run_transcript_record(dm_run *r, const dmpo_metrics *m, const dm_transcript_head *head,
                              const dm_transcript_record *before, dm_transcript_record *out,
                              unsigned char bytes[DM_TRANSCRIPT_RECORD]);
/* A new file with its header, if the options ask for one; an older one goes away. */
dm_status dm_run_transcript_begin(dm_run *r, dm_error *err);
/* Cuts the file to `step` steps, the last of which has this leaf (NULL: the checkpoint knows of no transcript, and the
 * run goes on without). */
dm_status dm_run_transcript_continue(dm_run *r, int64_t step, const char *leaf, dm_error *err);
dm_status dm_run_transcript_add(dm_run *r, const dmpo_metrics *m, dm_error *err);
dm_status dm_run_transcript_sync(const dm_run *r, dm_error *err);
const char *dm_run_transcript_leaf(const dm_run *r, char hex[DM_SHA256_HEX]); /* the newest; NULL: there is none */
dm_status dm_run_transcript_root(const dm_run *r, char hex[DM_SHA256_HEX], dm_error *err); /* "": there is none */
dm_status dm_run_transcript_remove(const dm_run *r, dm_error *err);

/* Sends an event; remembers when the callback asks to stop. */
void dm_run_event(dm_run *r, dmpo_event_kind kind, const char *text, int64_t done, int64_t total,
                  const dmpo_metrics *m);

/* SHA-256 (hex) over what decides the run's numbers: options, items, model and reference hashes. */
void dm_run_identity(const dm_run *r, char hex[DM_SHA256_HEX]);

#endif
