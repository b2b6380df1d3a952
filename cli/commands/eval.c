/* dmpo eval: statistics of episodes. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "agent/rollout/eval.h"
#include "cli/call.h"
#include "io/json_writer.h"

typedef struct eval_options {
    bool by_turn;
} eval_options;

static const cli_option options[] = {
    DM_OPTION_FLAG(eval_options, by_turn, "by-turn", "also prints a table of the mean score after each turn",
                   .manual = "Also prints a table of the mean score after each turn; an episode that has ended counts "
                             "with its reward."),
    {.offset = 0},
};

static const cli_command command = {
    "eval",
    "Prints statistics of episodes: rewards with 95 % intervals, success, turns, and paired differences.",
    "FILE... [options]",
    "Prints a row for each file of dmpo rollout. The interval is over tasks (Student's t); a task counts with the mean\n"
    "of its samples, and \"best\" and \"worst\" take its best and worst sample (best-of-N). From the second file on, a\n"
    "row has the difference to the first file, task by task over the tasks that both have. Success is a reward of 1.\n"
    "--json prints {\"files\": [{\"file\", \"episodes\", \"tasks\", \"reward\": {\"mean\", \"half\", \"n\"}, \"success\", "
    "\"best\", \"worst\",\n"
    "\"turns\", \"tokens\", \"ends\", \"by_turn\", \"difference\"}, ...]}: the interval is mean - half to mean + half.",
    options,
    1,
    CLI_POSITIONAL};

typedef struct row {
    const char *path;
    dm_episodes episodes;
    dm_eval eval;
    dm_estimate difference; /* to the first row */
} row;

/* ---- JSON ---- */

static void put_estimate(dm_json_writer *w, const char *key, const dm_estimate *e)
{
    dm_json_open_object(w, key);
    dm_json_put_double(w, "mean", e->mean);
    dm_json_put_double(w, "half", e->half);
    dm_json_put_uint(w, "n", e->n);
    dm_json_close_value(w);
}

static void put_row(dm_json_writer *w, const row *r, bool is_first)
{
    const dm_eval *e = &r->eval;

    dm_json_open_object(w, NULL);
    dm_json_put_string(w, "file", r->path);
    dm_json_put_uint(w, "episodes", e->episodes);
    dm_json_put_uint(w, "tasks", e->tasks);
    dm_json_open_array(w, "samples");
    dm_json_put_uint(w, NULL, e->fewest);
    dm_json_put_uint(w, NULL, e->most);
    dm_json_close_value(w);
    put_estimate(w, "reward", &e->reward);
    put_estimate(w, "success", &e->success);
    put_estimate(w, "best", &e->best);
    put_estimate(w, "worst", &e->worst);
    dm_json_put_double(w, "turns", e->turns);
    dm_json_put_double(w, "tokens", e->tokens);
    dm_json_open_object(w, "ends");
    for (size_t k = 0; k < DM_EPISODE_ENDS; k++)
        dm_json_put_uint(w, dm_episode_end_names[k], e->end[k]);
    dm_json_close_value(w);
    if (!is_first)
        put_estimate(w, "difference", &r->difference);
    dm_json_open_array(w, "by_turn");
    for (size_t k = 0; k <= e->turn_limit; k++)
        dm_json_put_double(w, NULL, e->by_turn[k]);
    dm_json_close_value(w);
    dm_json_close_value(w);
}

static void write_json(dm_text *out, const row *r, size_t n)
{
    dm_json_writer w = {.out = out};

    dm_json_open_object(&w, NULL);
    dm_json_open_array(&w, "files");
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            dm_json_new_line(&w);
        put_row(&w, &r[i], i == 0);
    }
    dm_json_close_value(&w);
    dm_json_close_value(&w);
    dm_text_add(out, "\n", 1);
}

/* ---- tables ---- */

/* "0.412 ±0.031"; without an interval only the mean. Its width on the screen is 12 or less. */
static void estimate_cell(dm_text *t, const dm_estimate *e, int with_sign)
{
    char text[64];
    int width = 0;

    if (e->n == 0)
        width = snprintf(text, sizeof text, "-");
    else if (isnan(e->half))
        width = snprintf(text, sizeof text, with_sign ? "%+.3f" : "%.3f", e->mean);
    else
        width =
            snprintf(text, sizeof text, with_sign ? "%+.3f \xC2\xB1%.3f" : "%.3f \xC2\xB1%.3f", e->mean, e->half) - 1;
    dm_text_print(t, "  %*s%s", width < 13 ? 13 - width : 0, "", text);
}

static int widest_path(const row *r, size_t n)
{
    size_t width = 4;
    for (size_t i = 0; i < n; i++)
        width = strlen(r[i].path) > width ? strlen(r[i].path) : width;
    return width < 48 ? (int)width : 48;
}

/* The end of a path says more than its beginning. */
static void path_cell(dm_text *t, const char *path, int width)
{
    const size_t size = strlen(path);
    if (size <= (size_t)width)
        dm_text_print(t, "%-*s", width, path);
    else
        dm_text_print(t, "...%s", path + size - ((size_t)width - 3));
}

static void main_table(dm_text *t, const row *r, size_t n)
{
    const int width = widest_path(r, n);
    size_t samples = 1;

    for (size_t i = 0; i < n; i++)
        samples = r[i].eval.most > samples ? r[i].eval.most : samples;
    dm_text_print(t, "%-*s %6s %8s  %13s %8s", width, "file", "tasks", "episodes", "reward", "success");
    if (samples > 1)
        dm_text_print(t, "  %13s  %13s", "best", "worst");
    if (n > 1)
        dm_text_print(t, "  %13s", "to the first");
    dm_text_print(t, " %7s %8s  ended\n", "turns", "tokens");
    for (size_t i = 0; i < n; i++) {
        const dm_eval *e = &r[i].eval;
        path_cell(t, r[i].path, width);
        dm_text_print(t, " %6zu %8zu", e->tasks, e->episodes);
        estimate_cell(t, &e->reward, 0);
        dm_text_print(t, " %6.1f %%", 100 * e->success.mean);
        if (samples > 1) {
            estimate_cell(t, &e->best, 0);
            estimate_cell(t, &e->worst, 0);
        }
        if (n > 1 && i == 0)
            dm_text_print(t, "  %13s", "");
        else if (n > 1)
            estimate_cell(t, &r[i].difference, 1);
        dm_text_print(t, " %7.2f %8.1f ", e->turns, e->tokens);
        for (size_t k = 0, shown = 0; k < DM_EPISODE_ENDS; k++)
            if (e->end[k])
                dm_text_print(t, "%s %s %zu", shown++ ? "," : "", dm_episode_end_names[k], e->end[k]);
        dm_text_print(t, "\n");
    }
}

static void turn_table(dm_text *t, const row *r, size_t n)
{
    const int width = widest_path(r, n);
    size_t limit = 0;

    for (size_t i = 0; i < n; i++)
        limit = r[i].eval.turn_limit > limit ? r[i].eval.turn_limit : limit;
    dm_text_print(t, "\nmean score after each turn\n%*s", 4, "turn");
    for (size_t i = 0; i < n; i++) {
        dm_text_print(t, "  ");
        path_cell(t, r[i].path, width);
    }
    dm_text_print(t, "\n");
    for (size_t k = 1; k <= limit; k++) {
        dm_text_print(t, "%4zu", k);
        for (size_t i = 0; i < n; i++) { /* a file whose episodes are all shorter stays at its last value */
            const dm_eval *e = &r[i].eval;
            dm_text_print(t, "  %-*.3f", width, e->by_turn[k < e->turn_limit ? k : e->turn_limit]);
        }
        dm_text_print(t, "\n");
    }
}

/* ---- command ---- */

static dm_status eval(cli_call *c, dm_error *err)
{
    const eval_options *o = c->options;
    const size_t n = (size_t)c->args.n_positional;
    row r[CLI_POSITIONAL] = {0};
    dm_text t = {0};
    dm_status s = DM_OK;

    for (size_t i = 0; s == DM_OK && i < n; i++) {
        r[i].path = c->args.positional[i];
        if ((s = dm_episodes_read(&r[i].episodes, &r[i].path, 1, err)) != DM_OK)
            break;
        if ((s = dm_eval_make(&r[i].eval, &r[i].episodes, err)) != DM_OK)
            s = dm_fail_context(err, s, "%s", r[i].path);
        else if (i > 0)
            s = dm_eval_difference(&r[i].difference, &r[i].eval, &r[0].eval, err);
    }
    if (s == DM_OK && c->common.json) {
        write_json(&t, r, n);
    } else if (s == DM_OK) {
        main_table(&t, r, n);
        if (o->by_turn)
            turn_table(&t, r, n);
    }
    if (t.failed)
        s = dm_fail(err, DM_ERR_MEMORY, "no memory for the table");
    if (s == DM_OK)
        fwrite(t.data, 1, t.size, stdout);
    dm_text_free(&t);
    for (size_t i = 0; i < n; i++) {
        dm_eval_free(&r[i].eval);
        dm_episodes_close(&r[i].episodes);
    }
    return s;
}

int cli_eval(int argc, char **argv)
{
    eval_options o = {0};
    cli_call call = {.command = &command, .options = &o, .work = eval};

    return cli_call_run(&call, argc, argv);
}
