/* A training run: what it opens, where everything lies in memory, and its steps.
 *
 *   dm_run_open     reads configuration, tokenizer, data; measures the memory plan (nothing big is allocated)
 *   dm_run_place    allocates the arena that was planned, reads the weights
 *   dm_reference    the reference policy's log-probabilities of every item, once
 *   dm_run_steps    evaluation, steps, checkpoints
 *   dm_run_close    gives everything back; fine at any stage
 *
 * Scoring (dmpo_score, model/train/score.c) is a run without gradients: opened with dm_run_open_score. */
#ifndef DM_MODEL_TRAIN_RUN_H
#define DM_MODEL_TRAIN_RUN_H

#include "dmpo.h"
#include "io/data/dataset.h"
#include "model/loss/mismatch.h"
#include "model/loss/objective.h"
#include "model/train/optimizer.h"
#include "model/formats/loaded_model.h"

#define DM_EVAL_GROUP 64 /* most items that an evaluation takes as one batch */

typedef struct dm_references { /* reference log-probabilities of a data set's items */
    float *logp;               /* all action tokens: item 0 chosen, item 0 rejected, item 1 chosen, ... */
    size_t *begin;             /* [2 * items] where side s of item i starts: begin[2*i + s] */
    size_t n;                  /* floats in logp */
    float *second;             /* as logp, of the second reference; NULL: there is none */
} dm_references;

typedef struct dm_run {
    const dm_engine *e;
    dmpo_train_options o;
    int score; /* forward only; any data form; the reference only when one is named */
    dm_loss_options loss;
    dm_loaded_model policy,
        reference[2]; /* reference[i].source NULL: the initial policy; of the second: there is none */
    int same_base[2]; /* reference[i] has the policy's base */
    int new_adapter;  /* the policy's adapter begins at 0: the initial policy is the base */
    dm_config config;
    dm_layout layout;         /* of w */
    const dm_layout *trained; /* of t, g, m and v: layout, or the adapter's */
    size_t writing; /* bytes that a file's tokenizer takes once more at the end, to be written as a directory's */
    dm_tokenizer *tokenizer; /* NULL for pre-tokenized data without a tokenizer */
    dm_chat_template chat;
    dm_dataset train, eval;                       /* eval.n == 0: none */
    dm_dataset train_mismatched, eval_mismatched; /* kto: item for item */
    dm_arena arena;
    dm_network_size size;
    dm_pack_size pack_max;
    size_t train_tokens, train_rows; /* of all items of `train`, before and after packing */
    float *w;                        /* [layout.floats] the base's weights */
    float *t, *g, *m, *v; /* [trained->floats] what is trained (w itself, or the adapter), gradient, AdamW moments;
                           * scoring has g == w and no m, v; in an overlay g is [network.split] */
    float *partial;       /* gradient norm */
    uint32_t *order;      /* [train.n] */
    double *scores;       /* [2 * scores_room] of a batch's pairs: chosen, then rejected; kto-pair only */
    size_t scores_room;
    int64_t order_epoch; /* whose order `order` is; -1: none yet */
    dm_references ref_train, ref_eval;
    dm_references ref_train_mismatched, ref_eval_mismatched; /* without second ones */
    dm_pack pack;
    dm_objective objective;
    dm_network network;

    int64_t steps, steps_per_epoch, warmup;
    dmpo_plan plan;
    dmpo_event_fn event;
    void *event_context;
    int stop; /* the callback asked to stop */
    int metrics_fd;
    int tensorboard_fd; /* -1: none */
    dm_text line;       /* one metrics line, reused */
} dm_run;

dm_status dm_run_open(dm_run *r, const dm_engine *e, const dmpo_train_options *o, dmpo_event_fn event, void *context,
                      dm_error *err);
dm_status dm_run_open_score(dm_run *r, const dm_engine *e, const dmpo_train_options *o, dmpo_event_fn event,
                            void *context, dm_error *err);
dm_status dm_run_place(dm_run *r, dm_error *err);
/* Policy and references, what is trained, and the layout of the weights (model/train/run_models.c). */
dm_status dm_run_open_models(dm_run *r, dm_error *err);
void dm_run_close(dm_run *r);

/* Fills ref_train, ref_eval and those of the mismatched sequences (from the cache file when its key matches, else by
 * running the reference policy, then writing the cache); does nothing where they have no room. A reference with another
 * base than the policy's has its weights in r->g for that time. */
dm_status dm_reference(dm_run *r, dm_error *err);

/* Of reference 0 or 1. */
const char *dm_reference_sha256(const dm_run *r, int which);

/* Means over all items of a data set under the current weights; no gradient. */
dm_status dm_evaluate(dm_run *r, const dm_dataset *data, const dm_references *ref, dmpo_metrics *out, dm_error *err);

/* One batch of training items: the gradient of its mean loss to r's gradient, means to *out. */
dm_status dm_run_gradient(dm_run *r, const uint32_t *items, size_t n, dmpo_metrics *out, dm_error *err);

/* Where dm_run_gradient left it. */
dm_gradient dm_run_gradient_at(const dm_run *r);

/* Step `step` (from 0): batch, gradient, clipping, update. */
dm_status dm_run_step(dm_run *r, int64_t step, dmpo_metrics *out, dm_error *err);

/* Runs steps [first, r->steps) with the checkpoints and evaluations that the options ask for. */
dm_status dm_run_steps(dm_run *r, int64_t first, dmpo_train_result *result, dm_error *err);

/* ---- output directory (model/train/checkpoint.c) ---- */
/* Writes output/checkpoint: beside, then renamed; the previous one is kept until the new one is durable. */
dm_status dm_checkpoint_write(dm_run *r, int64_t step, const dmpo_train_result *result, dm_error *err);
/* *step: steps done, 0 when there is no checkpoint. Verifies every checksum and that the run is the same one. Fills
 * result->before, and result->after.step with the newest evaluation in metrics.jsonl (-1: none). */
dm_status dm_checkpoint_read(dm_run *r, int64_t *step, dmpo_train_result *result, dm_error *err);
/* The finished model in output/. */
dm_status dm_output_write(dm_run *r, char hex[DM_SHA256_HEX], dm_error *err);

/* ---- metrics (model/train/metrics.c) ---- */
/* Appends a line to output/metrics.jsonl, and to TensorBoard's file when it is open; kind "train" or "eval".
 * Allocates nothing after the first call. */
dm_status dm_metrics_write(dm_run *r, const char *kind, const dmpo_metrics *m, dm_error *err);
void dm_metrics_json(dm_text *out, const char *kind, const dmpo_metrics *m);

/* TensorBoard's file in the output directory (--tensorboard). */
#define DM_EVENT_FILE "events.out.tfevents.dmpo"
int64_t dm_events_size(const dm_run *r); /* 0: there is none */
/* Cuts it to the bytes that a checkpoint knows (0: an older run's goes away), and opens it when the run is to write it.
 */
dm_status dm_events_open(dm_run *r, int64_t bytes, dm_error *err);

/* Sends an event; remembers when the callback asks to stop. */
void dm_run_event(dm_run *r, dmpo_event_kind kind, const char *text, int64_t done, int64_t total,
                  const dmpo_metrics *m);

/* SHA-256 (hex) over what decides the run's numbers: options, items, model and reference hashes. */
void dm_run_identity(const dm_run *r, char hex[DM_SHA256_HEX]);

#endif
