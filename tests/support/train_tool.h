/* What the tests of training share: a work directory, small models and data made here, dmpo_train in this process or in
 * a child that may be killed, and files to compare. */
#ifndef DM_TESTS_SUPPORT_TRAIN_TOOL_H
#define DM_TESTS_SUPPORT_TRAIN_TOOL_H

#include <stdint.h>

#include "dmpo.h"
#include "model/train/train.h"
#include "model/network/config.h"

#define PATH 512
#define VOCAB 97

/* dir/name; a path that is too long becomes empty, which no file is. */
const char *join(char path[PATH], const char *dir, const char *name);

/* "WORK/name", the same pointer for the same name: options may keep it. */
const char *at(const char *name);
void work_open(void);
void work_close(void);
int fast(void);

/* ---- models ---- */

extern const dm_config small_shape;

void make_model(const char *dir, const dm_config *c);

/* ---- data: token ids, so that no tokenizer is needed ---- */

/* `n` pairs "pair 0", "pair 1", ... of different lengths, one a line; chosen of pair `marked` holds id vocab. */
void make_pairs(const char *path, uint64_t seed, int n, int prefix, int gap, int vocab, int marked);

/* ---- runs ---- */

typedef struct outcome {
    int status;    /* of dmpo_train */
    int signal;    /* that ended the child; 0: none */
    int struck;    /* the disaster that a test had planned has happened */
    uint64_t peak; /* bytes, most resident memory of the child */
    char message[1024];
    dm_train_result result;
    dmpo_plan plan; /* of children that only plan */
} outcome;

/* In this process, with an engine of its own. */
outcome train(const dm_train_options *o, const char *isa, unsigned threads, dmpo_event_fn event, void *context);

/* `body` in a child process; what it leaves in *out comes back through a pipe, unless it is killed. */
outcome in_child(void (*body)(outcome *out, void *context), void *context);

/* ---- files ---- */

char *slurp(const char *path);
int same_file(const char *a, const char *b);

/* Two metrics.jsonl, but for what depends on the clock and the machine: tokens_per_second, seconds, peak_memory. */
int same_figures(const char *a, const char *b);

/* The results of two runs, bit for bit: weights, optimizer state, metrics. */
void check_same_run(const char *a, const char *b, const char *what);
int same_metrics(const dmpo_metrics *a, const dmpo_metrics *b);

#endif
