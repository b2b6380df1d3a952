/* dmpo show: one item of a data file as the trainer sees it. */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/call.h"
#include "cli/commands/show/show.h"
#include "cli/files.h"
#include "core/files/place.h"

typedef struct show_options {
    const char *item, *html;
    bool tokens, logps, overwrite;
    int colour;
} show_options;

static const cli_option own_options[] = {
    DM_OPTION_TEXT(show_options, item, "item", "ID", "the item's id, or its number in the file from 0",
                   .group = "what is shown", .absent = "the first"),
    DM_OPTION_FLAG(show_options, tokens, "tokens",
                   "prints a line for each token: position, id, turn, weight, log-probabilities, text"),
    DM_OPTION_FLAG(show_options, logps, "logps",
                   "runs the models for log-probabilities; `no-logps` reads only the model's tokenizer"),
    DM_OPTION_TEXT(show_options, html, "html", "FILE", "writes a page instead of printing", .absent = "none"),
    DM_OPTION_FLAG(show_options, overwrite, "overwrite", "replaces what is at `html` already"),
    DM_OPTION_AUTO(show_options, colour, "colour", "colours in the terminal",
                   .absent = "on a terminal, unless $NO_COLOR is set"),
};
#define OWN (sizeof own_options / sizeof *own_options)

static const char *const library_options[] = {
    "model", "base", "reference",         "template",   "template-option", "objective", "beta",
    "gamma", "phi",  "length-normalised", "max-length", "join-messages",   NULL};

static cli_option options[26];

static const cli_command command = {
    "show",
    "Shows an item of a data file as the trainer sees it: its tokens, which of them are trained, their weights.",
    "DATA [--model PATH] [--item ID] [options]",
    "The item's two sides are shown up to where they part, then each for itself: what the agent says in turn t is\n"
    "trained with the weight phi(t, T); all else is masked. Tokens that --max-length leaves out are shown as cut.\n"
    "With --model (and --reference) every turn has its log-probability, natural and summed. Text needs --model, whose\n"
    "tokenizer and chat template it is; a file of token ids does not.",
    options,
    1,
    1};

static size_t terminal_width(void)
{
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20 ? size.ws_col : 100;
}

static bool wants_colour(const show_options *o)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    if (o->colour >= 0)
        return o->colour;
    return isatty(STDOUT_FILENO) && !(no && *no) && !(term && strcmp(term, "dumb") == 0);
}

static dm_status print(const show_item *item, const show_options *o, bool json, dm_error *err)
{
    dm_text out = {0};
    cli_sink sink;

    if (o->html)
        show_html(&out, item);
    else if (json)
        show_json(&out, item);
    else
        show_text(&out, item, &(show_look){wants_colour(o), o->tokens, terminal_width()});
    dm_status s = out.failed ? dm_fail(err, DM_ERR_MEMORY, "no memory to show item '%s'", item->id)
                             : cli_sink_open(&sink, o->html, o->overwrite, err);
    if (s == DM_OK) {
        s = cli_sink_add(&sink, &out, err);
        s = cli_sink_close(&sink, s, err);
    }
    dm_text_free(&out);
    return s;
}

static dm_status check(cli_call *c, dm_error *err)
{
    const show_options *o = c->options;
    const dm_train_options *train = dm_train_options_values(c->args.train);
    dmpo_error error = {0};

    if (train->reference && !train->model)
        return dm_fail(err, DM_ERR_ARGUMENT, "--reference is compared with a policy; give --model PATH too");
    if (o->html && (c->common.json || o->tokens || o->colour >= 0))
        return dm_fail(err, DM_ERR_ARGUMENT, "--html writes a page with everything; leave --%s out",
                       c->common.json ? "json"
                       : o->tokens    ? "tokens"
                                      : "colour");
    const dm_status s =
        cli_call_api(dmpo_train_options_set(c->args.train, "data", c->args.positional[0], &error), &error, err);
    return s == DM_OK && o->html ? dm_place_apart(o->html, train->data, err) : s;
}

static dm_status show(cli_call *c, dm_error *err)
{
    const show_options *o = c->options;
    const dm_train_options *train = dm_train_options_values(c->args.train);
    show_item item = {0};
    dm_status s = show_open(&item, train, o->item, err);

    if (s == DM_OK && o->logps && train->model && (s = cli_call_engine(c, err)) == DM_OK)
        s = show_score(&item, c->engine, err);
    if (s == DM_OK)
        s = print(&item, o, c->common.json, err);
    show_close(&item);
    return s;
}

int cli_show(int argc, char **argv)
{
    show_options o = {.logps = true, .colour = -1};
    cli_call call = {.command = &command, .options = &o, .needs = CLI_TRAIN, .check = check, .work = show};

    memcpy(options, own_options, sizeof own_options);
    cli_library_options(options + OWN, sizeof options / sizeof *options - OWN, library_options, NULL);
    for (cli_option *row = options; row->info.name; row++) {
        const bool model = strcmp(row->info.name, "model") == 0;
        if (model || strcmp(row->info.name, "reference") == 0)
            row->info.absent = "none";
        if (model)
            row->info.manual = "The policy, whose tokenizer and chat template turn text into tokens: a Hugging Face "
                               "directory, a GGUF or llama2.c file, or the directory of a LoRA adapter.";
    }
    return cli_call_run(&call, argc, argv);
}
