/* Computes steps of a run again, on this machine, and compares them with its transcript (docs/transcript.md). */
#ifndef DM_MODEL_TRAIN_VERIFY_H
#define DM_MODEL_TRAIN_VERIFY_H

#include "model/train/rounds.h"

typedef struct dm_verify_options {
    const char *run;       /* its directory */
    int64_t sample;        /* steps to prove, chosen at random; 0, or as many as there are: all of them */
    uint64_t seed;         /* of the choice */
    int64_t from;          /* > 0: instead these steps: from this one on, `sample` of them */
    dm_run_policy *policy; /* of dmpo learn, whose rounds are played again; NULL: of dmpo train */
} dm_verify_options;

typedef struct dm_verify_result {
    int64_t steps;       /* of the transcript */
    int64_t chosen;      /* steps that were to be proved */
    int64_t replayed;    /* these, and those before them that had to be computed */
    int64_t proved;      /* of the replayed ones */
    int64_t checkpoints; /* that are what the transcript says */
    int64_t refuted;     /* findings */
    bool weights;        /* the model in the directory is the one of the last step */
    bool transcript;     /* there is one: false, nothing but files could be checked */
} dm_verify_result;

/* A line for people: something is refuted, or cannot be checked. Nonzero stops. */
typedef int (*dm_verify_fn)(void *context, bool refuted, const char *text);

/* What is checked: every leaf and the chain; metrics.jsonl against it; identity and state before the first step; the
 * chosen steps, each from the nearest state that the directory holds; its checkpoints; at the end the model's files.
 * Findings go to fn; the status is about what could not be done at all. `options`: the run's; its output is `run`.
 * A run without a transcript has nothing more to prove: that is said, and refuted when run.json names one. root: of
 * run.json, or NULL. */
dm_status dm_verify_run(dmpo_engine *engine, const dm_train_options *options, const dm_verify_options *v,
                        const char *root, dm_verify_fn fn, void *context, dmpo_event_fn event, void *event_context,
                        dm_verify_result *result, dm_error *err);

/* Chance that none of `forged` of `steps` steps is among `chosen` ones that were chosen at random. */
double dm_verify_odds(int64_t steps, int64_t chosen, int64_t forged);

/* ---- metrics.jsonl beside the transcript (model/train/verify_metrics.c) ---- */
typedef struct dm_verify_line {
    const char *text; /* without the newline; not NUL-terminated */
    size_t size;
    bool evaluation;
    dmpo_metrics of; /* step, and what no replay can know: seconds, tokens_per_second, peak_memory; and loss, lr,
                      * grad_norm, tokens, NaN or 0 where they are absent */
} dm_verify_line;

typedef struct dm_verify_lines {
    char *data;
    dm_verify_line *line;
    size_t n;
} dm_verify_lines;

dm_status dm_verify_lines_read(dm_verify_lines *out, const char *path, dm_error *err);
void dm_verify_lines_free(dm_verify_lines *lines);
/* NULL: no line has them, or several do. */
const dm_verify_line *dm_verify_lines_find(const dm_verify_lines *lines, int64_t step, bool evaluation);
/* Whether the line is the one that these metrics give. *t is scratch. */
bool dm_verify_line_is(const dm_verify_line *line, dmpo_metrics m, dm_text *t);

#endif
