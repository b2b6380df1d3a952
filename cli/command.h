/* The subcommands and what they share. */
#ifndef DM_CLI_COMMAND_H
#define DM_CLI_COMMAND_H

#include "cli/args.h"
#include "dmpo.h"
#include "io/data/template.h"
#include "simd/precision.h"

typedef int (*cli_main_fn)(int argc, char **argv);

typedef struct cli_entry {
    const char *name;
    cli_main_fn run;
    const char *summary;
} cli_entry;

/* The command of that name, or NULL. */
cli_main_fn cli_find(const char *name);

int cli_train(int argc, char **argv);
int cli_learn(int argc, char **argv);
int cli_plan(int argc, char **argv);
int cli_trace(int argc, char **argv);
int cli_check(int argc, char **argv);
int cli_golden(int argc, char **argv);
int cli_compare(int argc, char **argv);
int cli_score(int argc, char **argv);
int cli_show(int argc, char **argv);
int cli_generate(int argc, char **argv);
int cli_chat(int argc, char **argv);
int cli_info(int argc, char **argv);
int cli_tokenizer(int argc, char **argv);
int cli_play(int argc, char **argv);
int cli_init(int argc, char **argv);
int cli_convert(int argc, char **argv);
int cli_rollout(int argc, char **argv);
int cli_eval(int argc, char **argv);
int cli_experiment(int argc, char **argv);
int cli_pairs(int argc, char **argv);
int cli_verify(int argc, char **argv);
int cli_diff(int argc, char **argv);
int cli_report_main(int argc, char **argv); /* cli_report is a type, of cli/facts.h */

/* Of several ranks the one that writes and prints; true for a process alone. */
bool cli_is_first(void);

/* Prints "dmpo NAME: message" and returns the exit status: 2 for a wrong argument, 1 for everything else. */
int cli_failed(const char *name, int status, const char *message);

/* The library that this build takes exp and log of f32 from; NULL: none, results are those of the contract. */
const char *cli_foreign_math(void);

/* The options of sampling, for a struct with these fields. */
#define CLI_SAMPLING_OPTIONS(options, temperature_field, top_k_field, top_p_field)                                     \
    DM_OPTION_REAL(options, temperature_field, "temperature", "X",                                                     \
                   "sampling temperature; 0: always take the most probable token", .low = 0, .high = 1e6,              \
                   .legal = "0 to 1000000"),                                                                           \
        DM_OPTION_INTEGER(options, top_k_field, "top-k", "N", "sample from the N most probable tokens; 0: from all",   \
                          .low = 0, .high = 1e18, .legal = "0 or more"),                                               \
        DM_OPTION_REAL(options, top_p_field, "top-p", "X",                                                             \
                       "sample from the most probable tokens that together have probability X", .low = 1e-300,         \
                       .high = 1, .legal = "above 0, to 1")

#define CLI_BASE_OPTION(options, field)                                                                                \
    DM_OPTION_TEXT(options, field, "base", "PATH", "an adapter's base model",                                          \
                   .absent = "where the adapter says it is",                                                           \
                   .manual = "The base model of an adapter, where the adapter names one which is not here, such as a " \
                             "name on a hub.")

/* How products with weights compute. */
#define CLI_PRECISION_OPTION(options, field)                                                                           \
    DM_OPTION_CHOICE(options, field, "precision", "NAME", dm_precision_names,                                          \
                     "type to which products with weights round their inputs")

/* The text that ends an answer (model/infer/stop_text.h). */
#define CLI_STOP_OPTION(options, field)                                                                                \
    DM_OPTION_TEXT(options, field, "stop", "TEXT", "text that ends the answer, which is shown up to it",               \
                   .absent = "none",                                                                                   \
                   .manual = "Text that ends the answer, as the end-of-turn token always does. The answer is shown "   \
                             "up to it, wherever the tokens end.")

/* How a conversation becomes tokens: --template and --template-option. */
#define CLI_TEMPLATE_OPTIONS(options, template, values)                                                                \
    DM_OPTION_TEXT(options, template, "template", "NAME", "chat template: " DM_TEMPLATE_NAMES ", or a file with one",  \
                   .absent = "the model's own",                                                                        \
                   .manual =                                                                                           \
                       "Chat template: " DM_TEMPLATE_NAMES ", one of the model's named templates, or a file with a "   \
                       "Jinja template. Without it the template is the model's own, of chat_template.jinja or "        \
                       "tokenizer_config.json. `chat-template` is the same option."),                                  \
        DM_OPTION_TEXT(options, values, "template-option", "NAME=VALUE",                                               \
                       "variables for the chat template, separated by commas", .absent = "none",                       \
                       .manual = "Variables for the chat template, such as enable_thinking=false or date=2026-11-30, " \
                                 "separated by commas. Values are true, false, null, numbers, or text.")

/* Monotonic seconds. */
double cli_seconds(void);

/* Prints a line of the library's to standard error, its options as --name. */
void cli_note(const char *text);

/* ---- progress on stderr (cli/progress.c) ---- */
typedef struct cli_clock { /* of something that counts up */
    double start;          /* seconds */
    int64_t first;         /* the count at that time */
} cli_clock;

typedef struct cli_progress {
    int quiet, terminal;
    char phase[64];
    cli_clock of_phase, of_steps; /* of_steps.start 0: no step yet. Evaluations are phases between steps */
    double last_shown;
    int line_open; /* a progress line without newline is on the terminal */
} cli_progress;

void cli_progress_open(cli_progress *p, const cli_common *common);
int cli_progress_event(void *progress, const dmpo_event *event); /* a dmpo_event_fn; stops after Ctrl-C */
void cli_progress_close(cli_progress *p);

/* The first Ctrl-C, SIGTERM or SIGHUP asks the run to stop with a checkpoint, the second ends the process. Without this
 * call the first one ends it; either way what is half-written is removed. */
void cli_catch_interrupt(void);
int cli_interrupted(void);

/* The option tables that recipes are checked against. */
extern const cli_option cli_init_options[], cli_tokenizer_options[], cli_rollout_options[], cli_pairs_options[];
extern const char *const cli_score_options[]; /* train's options that score has */
const cli_option *cli_learn_options(void);

#endif
