#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/env/child.h"
#include "cli/command.h"
#include "cli/ranks.h"
#include "core/numbers/foreign.h"
#include "core/ranks.h"
#include "core/files/temporary.h"
#include "core/system.h"

static const cli_entry commands[] = {
    {"train", cli_train, "fine-tune a policy: sft, dmpo, dmpo-token, dpo, kto"},
    {"learn", cli_learn, "play episodes with a policy and learn from them: rloo, grpo, gigpo, ppo"},
    {"plan", cli_plan, "print the memory that a training run will need"},
    {"show", cli_show, "show an item of a data file as training sees it: tokens, masks, weights"},
    {"trace", cli_trace, "record a training step: every tensor, gradient, moment and weight"},
    {"check", cli_check, "judge a trace: which operation is the first that is wrong, and why"},
    {"compare", cli_compare, "find the first operation where two traces diverge"},
    {"golden", cli_golden, "make a golden case of a model, in double"},
    {"score", cli_score, "print log-probabilities of trajectories under policy and reference"},
    {"generate", cli_generate, "print a model's answer to a prompt"},
    {"chat", cli_chat, "talk with a model in the terminal"},
    {"info", cli_info, "describe a model, a data file or this machine"},
    {"tokenizer", cli_tokenizer, "train a tokenizer; encode and decode text"},
    {"play", cli_play, "play an episode of an environment, by hand or by its expert"},
    {"rollout", cli_rollout, "record episodes played by a model, an expert or at random"},
    {"eval", cli_eval, "print statistics of episodes: rewards with intervals, paired differences"},
    {"pairs", cli_pairs, "make training data from episodes: preference pairs, or only the better runs"},
    {"init", cli_init, "make a new model with seeded weights"},
    {"convert", cli_convert, "write a model as a Hugging Face directory, GGUF or llama2.c file"},
    {"experiment", cli_experiment, "run a recipe: from a tokenizer to a table of methods, over seeds"},
    {"verify", cli_verify, "prove or refute a run: its files, and steps computed again here"},
    {"diff", cli_diff, "find where two runs diverge: options, data, the first step, its first operation"},
    {"report", cli_report_main, "write an experiment's tables, charts and examples as HTML, Markdown and CSV"},
};

static const int endings[] = {SIGINT, SIGTERM, SIGHUP};
static volatile sig_atomic_t interrupts;

/* At once, but with nothing of ours left running or lying about; the parent sees which signal it was. */
static void end_by(int number)
{
    dm_temporary_remove_all();
    dm_child_kill_all();
    signal(number, SIG_DFL);
    raise(number); /* it waits until the handler returns */
}

static void on_signal(int number)
{
    if (++interrupts > 1)
        end_by(number);
    dm_child_interrupt();
}

/* A signal that our parent ignores, as nohup does, stays ignored; `asked`: except Ctrl-C, which a shell
 * ignores for everything that it starts with &. */
static void catch_endings(void (*handler)(int), bool asked)
{
    struct sigaction action = {.sa_handler = handler}, old;

    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (sigaction(endings[i], NULL, &old) != 0 || old.sa_handler != SIG_IGN || (asked && endings[i] == SIGINT))
            sigaction(endings[i], &action, NULL);
}

void cli_catch_interrupt(void)
{
    catch_endings(on_signal, true);
}

/* When a standard stream is closed, the first file that is opened would get its descriptor. It becomes /dev/null,
 * opened for the other direction, so that using it stays an error; messages have nowhere to go. */
static void open_standard_streams(void)
{
    static const int direction[] = {O_WRONLY, O_RDONLY, O_WRONLY};
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", direction[fd]) != fd)
            _exit(1);
}

int cli_interrupted(void)
{
    return interrupts > 0;
}

double cli_seconds(void)
{
    return dm_seconds();
}

void cli_note(const char *text)
{
    dm_text explained = {0};
    cli_explain_message(&explained, text);
    fprintf(stderr, "%s\n", explained.failed || !explained.data ? text : explained.data);
    dm_text_free(&explained);
}

bool cli_is_first(void)
{
    return dm_ranks_here()->self == 0;
}

int cli_failed(const char *name, int status, const char *message)
{
    const unsigned self = dm_ranks_here()->self;

    if (self > 0 && dm_ranks_agreed_to_fail()) /* rank 0 says it */
        return status == DMPO_ERR_ARGUMENT ? 2 : 1;
    if (self > 0)
        fprintf(stderr, "rank %u: ", self);
    fprintf(stderr, "dmpo %s: ", name);
    cli_note(message);
    return status == DMPO_ERR_ARGUMENT ? 2 : 1;
}

const char *cli_foreign_math(void)
{
    return DM_FOREIGN_MATH;
}

static void usage(FILE *out)
{
    fputs(
        "usage: dmpo COMMAND [options]        dmpo COMMAND --help explains a command\n\n"
        "Fine-tunes small Llama-family transformers on multi-turn agent trajectories with Direct Multi-Turn\n"
        "Preference Optimization (arXiv 2406.14868) and related methods, on the CPU, with the same bits everywhere.\n\n",
        out);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        fprintf(out, "  %-11s %s\n", commands[i].name, commands[i].summary);
    fputs("\n  --version  print the version\n", out);
}

/* Returns the status, or a failure if standard output cannot be written. */
static int printed(const char *name, int status)
{
    if (status != 0 || (fflush(stdout) == 0 && !ferror(stdout)))
        return status;
    fprintf(stderr, "%s: cannot write standard output\n", name);
    return 1;
}

/* Which commands several processes do together (core/ranks.h). */
static bool knows_ranks(const char *name)
{
    static const char *const names[] = {"train", "learn", "rollout", "score", "experiment"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static int run(const cli_entry *command, int argc, char **argv)
{
    dm_ranks_fact facts[DM_RANKS_FACTS] = {{"version", DMPO_VERSION}, {"source code", ""}};
    dm_error err = {0};
    dm_status s = cli_ranks_open(&err);

    if (s == DM_OK && dm_ranks_here()->count > 1 && !knows_ranks(command->name))
        s = dm_fail(&err, DM_ERR_ARGUMENT, "one process does this; start it without mpirun");
    snprintf(facts[1].value, sizeof facts[1].value, "%s", cli_ranks_program());
    if (dm_ranks_here()->count > 1)
        s = dm_ranks_agree(s, facts, &err);
    return s == DM_OK ? command->run(argc, argv) : cli_failed(command->name, s, err.message);
}

cli_main_fn cli_find(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(commands[i].name, name) == 0)
            return commands[i].run;
    return NULL;
}

int main(int argc, char **argv)
{
    open_standard_streams();
    catch_endings(end_by, false);
    signal(SIGXFSZ, SIG_IGN); /* a file at its size limit is an error like a full disk, not the end of the process */
    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return printed("dmpo", 0);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("dmpo %s\n", dmpo_version());
        return printed("dmpo", 0);
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(argv[1], commands[i].name) != 0)
            continue;
        char name[64];
        snprintf(name, sizeof name, "dmpo %s", argv[1]);
        const int status = printed(name, run(&commands[i], argc - 2, argv + 2));
        cli_ranks_close(status);
        return status;
    }
    fprintf(stderr, "dmpo: unknown command '%s'; dmpo --help lists the commands\n", argv[1]);
    return 2;
}
