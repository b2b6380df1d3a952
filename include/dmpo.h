/* dmpo: fine-tune small Llama-family transformers on multi-turn agent trajectories, on CPU, with the same bits
 * everywhere.
 *
 * The public interface of libdmpo. Functions return 0 on success and a negative dmpo_status otherwise, and then
 * fill *error (may be NULL) with one line: what is wrong, where, what would be right. The library never prints, exits
 * or aborts. Strings are UTF-8. An engine and what was opened with it belong to one thread at a time; several
 * engines may live side by side. */
#ifndef DMPO_H
#define DMPO_H

#include <stddef.h>
#include <stdint.h>

#define DMPO_VERSION "0.1.0"

#if defined(__GNUC__)
#define DMPO_API __attribute__((visibility("default")))
#else
#define DMPO_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dmpo_status {
    DMPO_OK = 0,
    DMPO_ERR_ARGUMENT = -1,    /* an option is out of its legal range */
    DMPO_ERR_INPUT = -2,       /* a file's content is broken or contradicts another */
    DMPO_ERR_FILE = -3,        /* a file cannot be read, written or renamed */
    DMPO_ERR_MEMORY = -4,      /* memory is exhausted, or the given limit too small */
    DMPO_ERR_UNSUPPORTED = -5, /* valid, but not something this build, machine or engine does */
    DMPO_ERR_NONFINITE = -6,   /* a loss, gradient or weight is NaN or infinite */
    DMPO_ERR_INTERRUPTED = -7, /* a callback asked to stop; what was saved is valid */
    DMPO_ERR_INTERNAL = -8     /* a bug */
} dmpo_status;

typedef struct dmpo_error {
    dmpo_status status;
    char message[1024];
} dmpo_error;

/* Of the library that is linked; equals DMPO_VERSION of the header it was built with. */
DMPO_API const char *dmpo_version(void);

/* ---- engine ---- */

typedef struct dmpo_engine dmpo_engine;

/* isa: "scalar", "avx2", "avx512", "neon", or NULL for $DMPO_ISA and without it the best of this machine. A level that
 * the machine lacks is an error. threads: 1..256, or 0 for $DMPO_THREADS and without it every processor. Neither
 * changes a bit of any result. */
DMPO_API dmpo_status dmpo_engine_open(dmpo_engine **engine, const char *isa, unsigned threads, dmpo_error *error);
DMPO_API void dmpo_engine_close(dmpo_engine **engine); /* sets *engine to NULL; NULL is fine */
DMPO_API const char *dmpo_engine_isa(const dmpo_engine *engine);
DMPO_API unsigned dmpo_engine_threads(const dmpo_engine *engine);

/* ---- training ---- */

/* What kind of value an option takes, and how it is written as text. */
typedef enum dmpo_option_type {
    DMPO_OPTION_TEXT,    /* any text; paths of files among them */
    DMPO_OPTION_INTEGER, /* a whole number */
    DMPO_OPTION_REAL,    /* a decimal number, with a '.' in every locale */
    DMPO_OPTION_SEED,    /* a whole number from 0 to 2^64 - 1 */
    DMPO_OPTION_BYTES,   /* a whole number of bytes, or one with KiB, MiB or GiB */
    DMPO_OPTION_FLAG,    /* true or false */
    DMPO_OPTION_AUTO,    /* true, false, or auto: the library decides */
    DMPO_OPTION_CHOICE   /* one of the names in `choices` */
} dmpo_option_type;

/* What a front end needs to know of an option. Static; may grow at its end. Texts are for people; in `help`, `manual`
 * and `absent`, `name` stands for an option. */
typedef struct dmpo_option_info {
    const char *name; /* of the option, such as "adam-beta1" */
    dmpo_option_type type;
    const char *metavar;        /* what stands for the value in a help text: "PATH", "N"; NULL for FLAG and AUTO */
    const char *const *choices; /* CHOICE: its names, then NULL; else NULL */
    double low, high;           /* INTEGER and REAL: the legal range; low == high: any */
    const char *legal;          /* the legal values in words; NULL: as type and choices say */
    const char *initial;        /* the default as text; NULL: absent */
    const char *initial_sft;    /* the default with the objective sft; NULL: the same one */
    const char *absent;         /* what the default means, in words; NULL: `initial` says it */
    const char *group;          /* the heading that it belongs below */
    const char *help;           /* one line */
    const char *manual;         /* a paragraph; NULL: `help` says everything */
    int decides;                /* 1: the numbers of a run depend on it; 0: they don't */
} dmpo_option_info;

/* The options of training in the order of a help text; NULL from the last one on. */
DMPO_API const dmpo_option_info *dmpo_train_option(size_t index);

/* The options of a run: every one at its default (the authors' of arXiv 2406.14868 and its code) until it is set.
 * Defaults follow the objective, whenever that is set. */
typedef struct dmpo_train_options dmpo_train_options;
DMPO_API dmpo_status dmpo_train_options_open(dmpo_train_options **options, dmpo_error *error);
DMPO_API void dmpo_train_options_close(dmpo_train_options **options); /* sets *options to NULL; NULL is fine */

/* Sets an option by its name. The value is copied; NULL sets the default again. An unknown name, a value of another type
 * or out of the legal range is refused with DMPO_ERR_ARGUMENT, and nothing changes. */
DMPO_API dmpo_status dmpo_train_options_set(dmpo_train_options *options, const char *name, const char *value,
                                            dmpo_error *error);
DMPO_API dmpo_status dmpo_train_options_set_real(dmpo_train_options *options, const char *name, double value,
                                                 dmpo_error *error);
DMPO_API dmpo_status dmpo_train_options_set_integer(dmpo_train_options *options, const char *name, int64_t value,
                                                    dmpo_error *error);

/* An option's value as text that _set reads back to the same value. NULL: it is absent, or there is no such option. The
 * options own the text, which stays until this option or the objective is set, or the options are closed. */
DMPO_API const char *dmpo_train_options_get(const dmpo_train_options *options, const char *name);

/* One step's figures; also a line of output/metrics.jsonl. Means over the batch. */
typedef struct dmpo_metrics {
    int64_t step; /* from 1 when a step is done; 0 for the evaluation before the first */
    double epoch;
    double loss;                           /* nats */
    double reward_chosen, reward_rejected; /* beta * weighted log-ratio */
    double reward_margin, reward_accuracy;
    double logp_chosen, logp_rejected; /* sums over the action tokens, nats */
    double grad_norm, lr;              /* 0 in an evaluation */
    double tokens_per_second;          /* tokens of both trajectories, shared ones counted twice */
    double seconds;
    uint64_t peak_memory; /* bytes, resident set size */
    int64_t tokens, action_tokens;
    double kl; /* kto: its estimate of the divergence from the reference, nats; NaN otherwise */
} dmpo_metrics;

typedef enum dmpo_event_kind {
    DMPO_EVENT_NOTE,     /* text: something a person should know (truncation, skipped items, plan, resumed from) */
    DMPO_EVENT_PHASE,    /* text: what begins now; total: how many items it has */
    DMPO_EVENT_PROGRESS, /* done of total */
    DMPO_EVENT_STEP,     /* metrics of a training step; done of total steps */
    DMPO_EVENT_EVAL      /* metrics of an evaluation on eval_data */
} dmpo_event_kind;

typedef struct dmpo_event {
    dmpo_event_kind kind;
    const char *text;
    int64_t done, total;
    const dmpo_metrics *metrics;
} dmpo_event;

/* Called on the thread that called the library. Return nonzero to stop: after the running step a checkpoint is written
 * and the call returns DMPO_ERR_INTERRUPTED. */
typedef int (*dmpo_event_fn)(void *context, const dmpo_event *event);

typedef struct dmpo_train_result {
    int64_t steps;
    dmpo_metrics before, after; /* evaluation on eval_data; step -1 when there is none */
    char weights_sha256[65];    /* of output/model.safetensors or adapter_model.safetensors: what sha256sum prints */
    char data_sha256[65], model_sha256[65];
    uint64_t planned_memory, peak_memory; /* bytes */
} dmpo_train_result;

/* Trains and writes `output`: model (config.json, model.safetensors in f32, tokenizer files) or adapter
 * (adapter_config.json, adapter_model.safetensors), metrics.jsonl, checkpoint/. A non-finite loss or gradient stops
 * before the weights are touched, naming the items of the batch. */
DMPO_API dmpo_status dmpo_train(dmpo_engine *engine, const dmpo_train_options *options, dmpo_event_fn event,
                                void *context, dmpo_train_result *result, dmpo_error *error);

/* ---- scoring: the log-probabilities of given trajectories ---- */

typedef struct dmpo_turn {
    size_t begin, end;           /* its tokens are ids[begin .. end), end of turn included */
    double logp, reference_logp; /* sums over them, nats; reference_logp 0 without a reference */
} dmpo_turn;

typedef struct dmpo_scored { /* one trajectory; valid during the callback */
    int64_t item;            /* number in the file's kept items, from 0 */
    const char *id;          /* the item's */
    const char *side;        /* "chosen", "rejected"; "sft" where the data has no pairs */
    const int32_t *ids;      /* [tokens] */
    size_t tokens, actions;  /* of the trajectory; inside the agent's turns */
    const dmpo_turn *turn;   /* [turns] */
    size_t turns;
    const float *logp, *reference_logp; /* [actions] turn after turn; reference_logp NULL without a reference */
    double logp_sum, reference_logp_sum;
    double reward; /* beta * weighted log-ratio; NaN without a reference or with DM_OBJECTIVE_SFT */
} dmpo_scored;

/* Called for each trajectory: item 0's chosen, its rejected, item 1's chosen, ... Nonzero stops. */
typedef int (*dmpo_score_fn)(void *context, const dmpo_scored *scored);

/* Scores options->data under options->model and, when it is not NULL, options->reference; of the other options those of
 * the loss (for the rewards), chat_template, reference_cache, max_length, skip_invalid, share_prefix and memory are
 * read. The numbers are those that dmpo_train sees before its first step, bit for bit. */
DMPO_API dmpo_status dmpo_score(dmpo_engine *engine, const dmpo_train_options *options, dmpo_score_fn score,
                                void *score_context, dmpo_event_fn event, void *event_context, dmpo_error *error);

/* ---- memory plan ---- */

#define DMPO_PLAN_LINES 24
typedef struct dmpo_plan {
    struct {
        const char *what; /* "weights", "gradients", ... */
        uint64_t bytes;
    } line[DMPO_PLAN_LINES];
    size_t lines;
    uint64_t total;               /* what the run's peak resident set size will be, within 5 % */
    uint64_t smallest;            /* the smallest --memory that works */
    uint32_t layers;              /* of the model, */
    uint32_t recomputed;          /* and how many of them, from the first, run again in the backward pass */
    int kept_logits;              /* 0: the head's logits are computed again in the backward pass */
    uint64_t longest_pack;        /* tokens of the longest item after sharing its prefix */
    uint64_t tokens;              /* of the training data, both sides of every pair, */
    uint64_t packed_tokens;       /* and how many of them are computed: a pair's common beginning once */
    uint64_t parameters, trained; /* of the model; that the run changes */
} dmpo_plan;

/* Reads what dmpo_train would read (model headers, tokenizer, data) and says what it would need. */
DMPO_API dmpo_status dmpo_plan_train(dmpo_engine *engine, const dmpo_train_options *options, dmpo_plan *plan,
                                     dmpo_error *error);

/* ---- a model in memory: log-probabilities and generation ---- */

typedef struct dmpo_model dmpo_model;

/* slots (1..256): sequences that it remembers at a time and can continue together. max_length: the longest sequence,
 * prompt and answer, that it will be asked for. Each slot takes layers * 2 * kv_heads * head_dim * max_length floats.
 */
DMPO_API dmpo_status dmpo_model_open(dmpo_model **model, dmpo_engine *engine, const char *path, size_t slots,
                                     size_t max_length, dmpo_error *error);
DMPO_API void dmpo_model_close(dmpo_model **model);
DMPO_API size_t dmpo_model_vocabulary(const dmpo_model *model);

/* logps[i] = log p(ids[i + 1] | ids[0..i]) in nats for i < n - 1; logps has room for n - 1. */
DMPO_API dmpo_status dmpo_model_logprobs(dmpo_model *model, const int32_t *ids, size_t n, float *logps,
                                         dmpo_error *error);

/* logits[n x vocabulary] for every position (for comparisons; training never makes this tensor). */
DMPO_API dmpo_status dmpo_model_logits(dmpo_model *model, const int32_t *ids, size_t n, float *logits,
                                       dmpo_error *error);

typedef struct dmpo_sampling {
    double temperature;     /* 0: greedy */
    int64_t top_k;          /* 0: all */
    double top_p;           /* (0, 1]; 1: all */
    uint64_t seed, episode; /* the random numbers are a function of (seed, episode, position) */
    int64_t max_tokens;
    const int32_t *stop; /* ids that end the answer (they are part of it) */
    size_t n_stop;
} dmpo_sampling;

/* One sequence to continue. The slot's keys and values of an equal beginning (and those of other slots) are used again,
 * so pass the whole sequence every time: only what is new is computed. */
typedef struct dmpo_request {
    size_t slot;        /* where it is remembered; each request of a call has its own */
    const int32_t *ids; /* [n] n >= 1 */
    size_t n;
    dmpo_sampling sampling;
    int32_t *out;       /* room for sampling.max_tokens, and one more with an end */
    float *logps;       /* as out, or NULL: log-probabilities under the unmodified distribution, nats */
    const int32_t *end; /* the id that is put behind an answer which does not end with it, or NULL */
    size_t n_out;       /* result: how many tokens were generated, a given end included */
    size_t reused;      /* result: how many of ids[] were known */
} dmpo_request;

/* Called for each generated token of request `index`; nonzero ends that request. */
typedef int (*dmpo_token_fn)(void *context, size_t index, int32_t id, float logp);

/* Continues n sequences together until each has met a stop id, its max_tokens, max_length, or the callback's wish. The
 * result of a request depends neither on the others nor on what is remembered. */
DMPO_API dmpo_status dmpo_model_generate(dmpo_model *model, dmpo_request *requests, size_t n, dmpo_token_fn token,
                                         void *context, dmpo_error *error);

/* Called for a request that has no sequence to continue: at first, when its answer has ended, and again with every
 * token of the others while it has none. 1: it was given one (all but its slot may be new); 0: none now; negative:
 * the call ends at once. */
typedef int (*dmpo_next_fn)(void *context, size_t index);

/* As dmpo_model_generate, for conversations: what has its answer goes on while the others still wait for theirs. Ends
 * when no request has a sequence and `next` has none for any. */
DMPO_API dmpo_status dmpo_model_serve(dmpo_model *model, dmpo_request *requests, size_t n, dmpo_next_fn next,
                                      dmpo_token_fn token, void *context, dmpo_error *error);

#ifdef __cplusplus
}
#endif

#endif
