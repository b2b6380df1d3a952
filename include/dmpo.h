/* libdmpo: fine-tune small Llama-family transformers on multi-turn agent trajectories, on the CPU, with the same bits
 * everywhere. Score trajectories, generate answers, render conversations.
 *
 * This comment says once what holds for every function.
 *
 * Status      A function that can fail returns a dmpo_status, 0 for success. On failure it fills *error with one line:
 *             what is wrong, where, what would be right. In these lines `name` stands for an option or a member. The
 *             library never prints, exits or aborts.
 * NULL        `error` may be NULL, and a callback with its context where its comment says so. No other pointer may be
 *             NULL unless its comment says so. An _open that fails sets the handle to NULL; a _close takes the address
 *             of a handle, sets it to NULL, and accepts NULL and the address of NULL.
 * Ownership   Handles belong to the caller, who closes them; what was opened with an engine is closed before it.
 *             Arguments are read during the call and not kept. Strings and arrays that a function returns or passes to
 *             a callback belong to the library: each comment says until when.
 * Growth      Structs that the library hands out may gain members at their end: never copy or index them by their
 *             size. Structs that the caller fills begin with `size`, which the caller sets to sizeof the struct; a
 *             library newer or older than the program then reads and writes what both know. dmpo_error, dmpo_turn,
 *             dmpo_message and dmpo_span are final.
 * Choices     A value from a list is a name, such as "dmpo" for `objective`: a newer library may have more of
 *             them without breaking a program, and dmpo_option_info.choices lists them.
 * Callbacks   run on the thread that called the library. They may use other engines and what was opened with these, and
 *             tokenizers, but nothing of the engine at work except its dmpo_engine_* and dmpo_model_* properties.
 * Threads     An engine and what was opened with it, a tokenizer, and options each serve one thread at a time, which
 *             need not be the same one for every call. Different engines may work at the same time.
 * Locale      Any. Numbers have a '.' in every text, whatever setlocale was called with. Texts and paths are UTF-8.
 * Floating    The calling thread rounds to nearest and keeps subnormal numbers, as every thread does by default.
 * point       dmpo_engine_open refuses a thread in another mode. The library changes none of these modes and
 *             enables no trap.
 * Processes   No function may run in a child of fork without exec. Signals are left to the program.
 *
 * Arrays have their shape in brackets, row-major. Log-probabilities are natural, in nats; sizes are bytes; lengths are
 * tokens. */
#ifndef DMPO_H
#define DMPO_H

#include <stddef.h>
#include <stdint.h>

#define DMPO_VERSION_MAJOR 0
#define DMPO_VERSION_MINOR 1
#define DMPO_VERSION_PATCH 0
#define DMPO_VERSION "0.1.0"
#define DMPO_VERSION_NUMBER (DMPO_VERSION_MAJOR * 10000 + DMPO_VERSION_MINOR * 100 + DMPO_VERSION_PATCH)

#if defined(__GNUC__)
#define DMPO_API __attribute__((visibility("default")))
#else
#define DMPO_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- status ---- */

typedef enum dmpo_status {
    DMPO_OK = 0,
    DMPO_ERR_ARGUMENT = -1,    /* what the caller passed is out of its legal range */
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
    char message[1024]; /* one line without a line end; "" after success */
} dmpo_error;

/* "ok", "argument", "input", ...; "unknown" for another number. Static. */
DMPO_API const char *dmpo_status_name(dmpo_status status);

/* ---- version ---- */

/* The version of the linked library: DMPO_VERSION and DMPO_VERSION_NUMBER of the header that it was built with. */
DMPO_API const char *dmpo_version(void);
DMPO_API int dmpo_version_number(void);

/* Fails with DMPO_ERR_UNSUPPORTED unless the linked library serves a program that was compiled with the header of
 * version `number`: pass DMPO_VERSION_NUMBER. It does when it is not older and has the same major version; before 1.0,
 * the same minor version too. */
DMPO_API dmpo_status dmpo_version_check(int number, dmpo_error *error);

/* ---- engine ---- */

/* A pool of threads and the kernels of an instruction set. */
typedef struct dmpo_engine dmpo_engine;

/* isa: "scalar", "avx2", "avx512", "amx", "neon", or NULL for $DMPO_ISA and without it the best of this machine but
 * "amx", which has to be asked for. A level that the machine lacks is DMPO_ERR_UNSUPPORTED. threads: 1 to 256, or 0 for
 * $DMPO_THREADS and without it every processor. Neither changes a bit of any result. With "amx" the process may no
 * longer use signal stacks that are too small for the registers of AMX. */
DMPO_API dmpo_status dmpo_engine_open(dmpo_engine **engine, const char *isa, unsigned threads, dmpo_error *error);
DMPO_API void dmpo_engine_close(dmpo_engine **engine);
DMPO_API const char *dmpo_engine_isa(const dmpo_engine *engine); /* its name; static */
DMPO_API unsigned dmpo_engine_threads(const dmpo_engine *engine);

/* ---- options of training ---- */

/* What kind of value an option takes, and how it is written as text. */
typedef enum dmpo_option_type {
    DMPO_OPTION_TEXT,    /* any text, paths among them */
    DMPO_OPTION_INTEGER, /* a whole number */
    DMPO_OPTION_REAL,    /* a decimal number */
    DMPO_OPTION_SEED,    /* a whole number from 0 to 2^64 - 1 */
    DMPO_OPTION_BYTES,   /* a whole number of bytes, or a number with KiB, MiB or GiB */
    DMPO_OPTION_FLAG,    /* true or false */
    DMPO_OPTION_AUTO,    /* true, false, or auto: the library decides */
    DMPO_OPTION_CHOICE   /* one of the names in `choices` */
} dmpo_option_type;

/* What a front end needs to know about an option. Static. In help, manual and absent, `name` stands for an option. */
typedef struct dmpo_option_info {
    const char *name; /* such as "adam-beta1" */
    dmpo_option_type type;
    const char *metavar;        /* stands for the value in a help text: "PATH", "N"; NULL for FLAG and AUTO */
    const char *const *choices; /* CHOICE: its names, then NULL; else NULL */
    double low, high;           /* INTEGER and REAL: the legal range; low == high: any */
    const char *legal;          /* the legal values in words; NULL: as type and choices say */
    const char *initial;        /* the default as text; NULL: absent */
    const char *initial_sft;    /* the default with the objective sft; NULL: the same one */
    const char *absent;         /* what the default means, in words; NULL: `initial` says it */
    const char *group;          /* heading that it belongs under */
    const char *help;           /* one line */
    const char *manual;         /* a paragraph; NULL: `help` says everything */
    int decides;                /* 1: the numbers of a run depend on it; 0: they do not */
} dmpo_option_info;

/* The options of training, in the order of a help text; NULL when index is their number or more. */
DMPO_API const dmpo_option_info *dmpo_train_option(size_t index);

/* The options of a run. Each has its default (that of the authors of arXiv 2406.14868 and their code) until it is set.
 * Defaults follow the objective, whether it is set before or after other options. */
typedef struct dmpo_train_options dmpo_train_options;

DMPO_API dmpo_status dmpo_train_options_open(dmpo_train_options **options, dmpo_error *error);
DMPO_API void dmpo_train_options_close(dmpo_train_options **options);

/* Sets an option by name to a copy of the value; NULL sets its default again. An unknown name, a value of another type
 * or out of the legal range is refused with DMPO_ERR_ARGUMENT, and nothing changes. */
DMPO_API dmpo_status dmpo_train_options_set(dmpo_train_options *options, const char *name, const char *value,
                                            dmpo_error *error);
DMPO_API dmpo_status dmpo_train_options_set_real(dmpo_train_options *options, const char *name, double value,
                                                 dmpo_error *error);
DMPO_API dmpo_status dmpo_train_options_set_integer(dmpo_train_options *options, const char *name, int64_t value,
                                                    dmpo_error *error);

/* The value as text that _set reads back to the same value; NULL: it is absent, or there is no such option. Valid until
 * this option or the objective is set, or the options are closed. */
DMPO_API const char *dmpo_train_options_get(const dmpo_train_options *options, const char *name);

/* ---- events ---- */

/* Figures of a training step or an evaluation; also a line of output/metrics.jsonl. Means over the batch, or over the
 * held-out data. Handed out. */
typedef struct dmpo_metrics {
    int64_t step; /* 1 after the first step; 0: the evaluation before it */
    double epoch;
    double loss;
    double reward_chosen, reward_rejected; /* beta * weighted log-ratio */
    double reward_margin, reward_accuracy;
    double logp_chosen, logp_rejected; /* sums over the action tokens */
    double grad_norm, lr;              /* 0 in an evaluation */
    double tokens_per_second;          /* of both trajectories, shared tokens counted twice */
    double seconds;
    uint64_t peak_memory; /* resident set size */
    int64_t tokens, action_tokens;
    double kl; /* kto, and learning while acting with a reference: the estimated divergence from it; NaN otherwise */
    /* Learning while acting (dmpo learn); all 0 elsewhere. */
    int64_t episodes;             /* played: of the step's round, or of the evaluation */
    double reward;                /* their mean reward */
    double ratio_low, ratio_high; /* of a token's probability to that when it was sampled; of a step */
    double clipped;               /* share of the tokens whose gradient the clip takes away; of a step */
} dmpo_metrics;

typedef enum dmpo_event_kind {
    DMPO_EVENT_NOTE,     /* text: something a person should know (truncation, skipped items, plan, resumed from) */
    DMPO_EVENT_PHASE,    /* text: what begins now; total: how many items it has */
    DMPO_EVENT_PROGRESS, /* done of total */
    DMPO_EVENT_STEP,     /* metrics of a training step; done of total steps */
    DMPO_EVENT_EVAL      /* metrics of an evaluation on the held-out data */
} dmpo_event_kind;

/* Handed out; valid during the callback. */
typedef struct dmpo_event {
    dmpo_event_kind kind; /* ignore kinds that you do not know */
    const char *text;     /* of NOTE and PHASE, else NULL */
    int64_t done, total;
    const dmpo_metrics *metrics; /* of STEP and EVAL, else NULL */
} dmpo_event;

/* Return nonzero to stop: dmpo_train finishes the step, writes a checkpoint and returns DMPO_ERR_INTERRUPTED;
 * dmpo_score stops after the item. */
typedef int (*dmpo_event_fn)(void *context, const dmpo_event *event);

/* ---- training ---- */

typedef struct dmpo_train_result {
    size_t size;                          /* in: sizeof(dmpo_train_result) */
    int64_t steps;                        /* of the run, those before a resumption included */
    const dmpo_metrics *before, *after;   /* evaluations on the held-out data, NULL without; valid until the engine
                                           * trains again or is closed */
    uint64_t planned_memory, peak_memory; /* resident set size */
    char weights_sha256[65];              /* of output's model.safetensors or adapter_model.safetensors, in hex */
    char data_sha256[65], model_sha256[65];
    char transcript_sha256[65]; /* root of transcript.bin; "": without */
} dmpo_train_result;

/* Trains and writes the option `output`'s directory: a model (config.json, model.safetensors in f32, tokenizer files)
 * or an adapter (adapter_config.json, adapter_model.safetensors), metrics.jsonl, checkpoint/. `model`, `data` and
 * `output` must be set. event and result may be NULL. A loss or gradient that is not finite stops the run before the
 * weights change, with DMPO_ERR_NONFINITE, naming the items of the batch. */
DMPO_API dmpo_status dmpo_train(dmpo_engine *engine, const dmpo_train_options *options, dmpo_event_fn event,
                                void *context, dmpo_train_result *result, dmpo_error *error);

#define DMPO_PLAN_LINES 24

typedef struct dmpo_plan {
    size_t size;       /* in: sizeof(dmpo_plan) */
    uint64_t total;    /* peak resident set size of the run, within 5 % */
    uint64_t smallest; /* the smallest value of `memory` that works */
    struct {
        const char *what; /* "weights", "gradients", ...; static */
        uint64_t bytes;
    } line[DMPO_PLAN_LINES];
    size_t lines;
    uint32_t layers;              /* of the model */
    uint32_t recomputed;          /* how many of the first layers run again in the backward pass */
    int kept_logits;              /* 0: the head's logits are computed again in the backward pass */
    uint64_t longest_pack;        /* tokens of the longest item after sharing its prefix */
    uint64_t tokens;              /* of the training data, both sides of every pair */
    uint64_t packed_tokens;       /* of them, those that are computed: a pair's common prefix once */
    uint64_t parameters, trained; /* of the model; of what the run changes */
} dmpo_plan;

/* Reads what dmpo_train would read (model headers, tokenizer, data) and computes the memory that it would need. `model`
 * and `data` must be set. Nothing is written. */
DMPO_API dmpo_status dmpo_plan_train(dmpo_engine *engine, const dmpo_train_options *options, dmpo_plan *plan,
                                     dmpo_error *error);

/* ---- scoring: the log-probabilities of given trajectories ---- */

typedef struct dmpo_turn {
    size_t begin, end;           /* its tokens are ids[begin .. end), end of turn included */
    double logp, reference_logp; /* sums over them; reference_logp 0 without a reference */
} dmpo_turn;

/* One trajectory. Handed out; valid during the callback. */
typedef struct dmpo_scored {
    int64_t item;           /* number among the file's kept items, from 0 */
    const char *id;         /* the item's */
    const char *side;       /* "chosen", "rejected"; "sft" where the data has no pairs */
    const int32_t *ids;     /* [tokens] */
    size_t tokens, actions; /* of the trajectory; of the agent's turns */
    const dmpo_turn *turn;  /* [turns] */
    size_t turns;
    const float *logp, *reference_logp; /* [actions], turn after turn; reference_logp NULL without a reference */
    double logp_sum, reference_logp_sum;
    double reward; /* beta * weighted log-ratio; NaN without a reference or with the objective sft */
} dmpo_scored;

/* Called for each trajectory: item 0's chosen, its rejected, item 1's chosen, ... Nonzero stops. */
typedef int (*dmpo_score_fn)(void *context, const dmpo_scored *scored);

/* Scores the option `data` under `model` and, when it is set, `reference`. Of the other options it reads those of the
 * loss (for the rewards), template, template-option, reference-cache, max-length, skip-invalid, share-prefix and
 * memory. The numbers equal those of dmpo_train before its first step, bit for bit. event may be NULL. */
DMPO_API dmpo_status dmpo_score(dmpo_engine *engine, const dmpo_train_options *options, dmpo_score_fn score,
                                void *score_context, dmpo_event_fn event, void *event_context, dmpo_error *error);

/* ---- tokenizer and chat template ---- */

/* The tokenizer of a model, and its chat template. */
typedef struct dmpo_tokenizer dmpo_tokenizer;

/* path: a model of any form (Hugging Face directory, GGUF or llama2.c file, adapter). chat_template: as the option
 * `template` of training, whose help lists the built-in names; NULL: the model's own, or none, which dmpo_chat_render
 * then reports. template_options: variables for it, "NAME=VALUE,NAME=VALUE", or NULL. A model without a tokenizer is
 * DMPO_ERR_INPUT. */
DMPO_API dmpo_status dmpo_tokenizer_open(dmpo_tokenizer **tokenizer, const char *path, const char *chat_template,
                                         const char *template_options, dmpo_error *error);
/* The same for an adapter whose base is at `base`, not where the adapter says; NULL: where the adapter says. */
DMPO_API dmpo_status dmpo_tokenizer_open_on(dmpo_tokenizer **tokenizer, const char *path, const char *base,
                                            const char *chat_template, const char *template_options, dmpo_error *error);
DMPO_API void dmpo_tokenizer_close(dmpo_tokenizer **tokenizer);

DMPO_API size_t dmpo_tokenizer_size(const dmpo_tokenizer *tokenizer);          /* number of ids */
DMPO_API const char *dmpo_tokenizer_template(const dmpo_tokenizer *tokenizer); /* its name, static; NULL: none */

/* The ids that end an agent's answer: the model's end of text and the template's end of turn, [*n]. Valid until the
 * tokenizer is closed. */
DMPO_API const int32_t *dmpo_tokenizer_stops(const dmpo_tokenizer *tokenizer, size_t *n);

typedef struct dmpo_span {
    size_t begin, end; /* tokens [begin, end) */
} dmpo_span;

/* Text as token ids. Handed out; valid until the tokenizer encodes or renders again or is closed. */
typedef struct dmpo_encoding {
    const int32_t *ids; /* [n] */
    size_t n;
    const dmpo_span *turns; /* [n_turns] the agent's turns, end of turn included; none from dmpo_tokenizer_encode */
    size_t n_turns;
} dmpo_encoding;

/* The ids of text[0..size), without a begin or end of text. special: 1 recognises special tokens in the text, 0 takes
 * them as ordinary text, so that it cannot forge one. Text that is not UTF-8 is DMPO_ERR_INPUT. */
DMPO_API dmpo_status dmpo_tokenizer_encode(dmpo_tokenizer *tokenizer, const char *text, size_t size, int special,
                                           const dmpo_encoding **encoding, dmpo_error *error);

/* The bytes of ids[n]: *size of them, then a NUL that is not counted. special: 1 shows special tokens, 0 leaves them
 * out. A token may be part of a character, so bytes of few ids need not be UTF-8. An id that the tokenizer lacks is
 * DMPO_ERR_ARGUMENT. *text is valid until the tokenizer decodes again or is closed. */
DMPO_API dmpo_status dmpo_tokenizer_decode(dmpo_tokenizer *tokenizer, const int32_t *ids, size_t n, int special,
                                           const char **text, size_t *size, dmpo_error *error);

typedef struct dmpo_message {
    const char *role;    /* "system", "user", "assistant" or "tool" */
    const char *content; /* UTF-8 */
} dmpo_message;

/* A conversation messages[n] as token ids by the chat template, with the spans of the agent's turns. tools: the JSON
 * list of tools that the agent may call, or NULL. answer: 1 ends it where the agent's next words begin, and then the
 * last message is not the agent's. */
DMPO_API dmpo_status dmpo_chat_render(dmpo_tokenizer *tokenizer, const dmpo_message *messages, size_t n,
                                      const char *tools, int answer, const dmpo_encoding **encoding, dmpo_error *error);

/* The same from JSON, text[0..size): a list of messages, or an object with one as "messages" and whatever else the
 * template reads (docs/data.md). name: of the text, for errors. */
DMPO_API dmpo_status dmpo_chat_render_json(dmpo_tokenizer *tokenizer, const char *text, size_t size, const char *name,
                                           int answer, const dmpo_encoding **encoding, dmpo_error *error);

/* ---- a model in memory: log-probabilities and generation ---- */

typedef struct dmpo_model dmpo_model;

/* path: as in dmpo_tokenizer_open. slots: 1 to 256 sequences whose keys and values are kept and which can be continued
 * together. max_length: the longest sequence, prompt and answer, 1 to 2^24. A slot takes
 * layers * 2 * kv_heads * head_dim * max_length floats. */
DMPO_API dmpo_status dmpo_model_open(dmpo_model **model, dmpo_engine *engine, const char *path, size_t slots,
                                     size_t max_length, dmpo_error *error);
/* The same for an adapter whose base is at `base`, not where the adapter says; NULL: where the adapter says. */
DMPO_API dmpo_status dmpo_model_open_on(dmpo_model **model, dmpo_engine *engine, const char *path, const char *base,
                                        size_t slots, size_t max_length, dmpo_error *error);
DMPO_API void dmpo_model_close(dmpo_model **model);

/* Sets how products with weights are computed: "f32", as after opening, or "bf16", as with the option `precision` of
 * training. A change discards what the slots remember. */
DMPO_API dmpo_status dmpo_model_set_precision(dmpo_model *model, const char *name, dmpo_error *error);
DMPO_API size_t dmpo_model_vocabulary(const dmpo_model *model);
DMPO_API size_t dmpo_model_positions(const dmpo_model *model); /* the longest sequence that it was made for */

/* logps[i] = log p(ids[i + 1] | ids[0..i]) for i < n - 1. ids [n], 1 <= n <= max_length; logps [n - 1]. An id that the
 * vocabulary lacks is DMPO_ERR_ARGUMENT. */
DMPO_API dmpo_status dmpo_model_logprobs(dmpo_model *model, const int32_t *ids, size_t n, float *logps,
                                         dmpo_error *error);

/* The logits of every position: logits [n, vocabulary]. For comparisons; training never makes this tensor. */
DMPO_API dmpo_status dmpo_model_logits(dmpo_model *model, const int32_t *ids, size_t n, float *logits,
                                       dmpo_error *error);

/* How tokens are chosen: by temperature, then top_k, then top_p. The random numbers are a function of (seed, episode,
 * position). */
typedef struct dmpo_sampling {
    size_t size;            /* sizeof(dmpo_sampling) */
    double temperature;     /* 0: always the most probable token; at most 1e6 */
    int64_t top_k;          /* sample from the top_k most probable tokens; 0: from all */
    double top_p;           /* from the most probable ones that together have this probability, (0, 1] */
    uint64_t seed, episode; /* episode: distinguishes answers of one seed */
    int64_t max_tokens;     /* of the answer, >= 0 */
    const int32_t *stop;    /* [n_stop] ids that end the answer and belong to it; NULL with n_stop 0 */
    size_t n_stop;
} dmpo_sampling;

/* Greedy, 256 tokens, no stop ids. size: sizeof *sampling. */
DMPO_API void dmpo_sampling_defaults(dmpo_sampling *sampling, size_t size);

/* One sequence to continue. A slot remembers keys and values, so pass the whole sequence every time: only what no slot
 * holds is computed. What it points to must stay valid until the call returns. */
typedef struct dmpo_request {
    size_t size;        /* sizeof(dmpo_request), the same in every element of an array */
    size_t slot;        /* where it is remembered; each request of a call has its own */
    const int32_t *ids; /* [n] n >= 1 */
    size_t n;
    const dmpo_sampling *sampling; /* NULL: dmpo_sampling_defaults */
    int32_t *out;                  /* [max_tokens], one more with `end` */
    float *logps;                  /* as out: log-probabilities under the unmodified distribution; NULL: not wanted */
    const int32_t *end;            /* id that is added to an answer which does not end with it; NULL: none */
    size_t n_out;                  /* result: tokens generated, an added end included */
    size_t reused;                 /* result: how many of ids the slots held */
} dmpo_request;

/* Called for each generated token of request `index`; nonzero ends that request. */
typedef int (*dmpo_token_fn)(void *context, size_t index, int32_t id, float logp);

/* Continues requests[n] together until each has met a stop id, max_tokens or max_length, or the callback ended it. The
 * result of a request depends neither on the others nor on what is remembered. token may be NULL. */
DMPO_API dmpo_status dmpo_model_generate(dmpo_model *model, dmpo_request *requests, size_t n, dmpo_token_fn token,
                                         void *context, dmpo_error *error);

/* Called for a request that has no sequence to continue: at first, when its answer has ended, and again with every
 * token of the others while it has none. Return 1 after giving it one (all but size and slot may be new), 0 for none
 * now, a negative number to end the call at once. */
typedef int (*dmpo_next_fn)(void *context, size_t index);

/* As dmpo_model_generate, by continuous batching: a conversation that has its answer continues while others still wait
 * for theirs. Ends when no request has a sequence and `next` has none for any. */
DMPO_API dmpo_status dmpo_model_generate_continuous(dmpo_model *model, dmpo_request *requests, size_t n,
                                                    dmpo_next_fn next, dmpo_token_fn token, void *context,
                                                    dmpo_error *error);

#ifdef __cplusplus
}
#endif

#endif
