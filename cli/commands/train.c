/* dmpo train and dmpo plan: the same options, run or only planned. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/files.h"
#include "core/ranks.h"
#include "dmpo.h"
#include "model/train/train.h"

static cli_command train_command = {
    .name = "train",
    .summary = "Trains a policy and writes it, with metrics and a checkpoint, into --output.",
    .usage = "--model PATH --data FILE --output DIR [options]",
    .details = "OUTPUT gets config.json, model.safetensors (f32), the tokenizer's files, metrics.jsonl, run.json and "
               "checkpoint/.\n"
               "Ctrl-C finishes the step, writes a checkpoint and stops; --resume continues with the same bits.\n"
               "dmpo train --config OUTPUT/run.json repeats a run. --no-NAME switches the flag --NAME off."};

typedef struct plan_options {
    int64_t ranks;
} plan_options;

static const cli_option plan_own[] = {
    DM_OPTION_INTEGER(
        plan_options, ranks, "ranks", "N", "also prints what each of N ranks needs and sends in a step (docs/ranks.md)",
        .group = "several machines", .absent = "one process", .low = 0, .high = DM_RANKS_MAX, .legal = "1 to 256"),
};

static cli_command plan_command = {.name = "plan",
                                   .summary =
                                       "Says what memory a training run will need, line by line, without running it.",
                                   .usage = "--model PATH --data FILE [options of dmpo train]"};

/* Options at their defaults, then as the command line has them. table: NULL: those of dmpo train, and `own` is not
 * used. */
static dm_status parse(cli_command *c, const cli_option *table, void *own, cli_common *common, cli_args *args, int argc,
                       char **argv, dm_error *err)
{
    dmpo_error error;
    const dmpo_status s = dmpo_train_options_open(&args->train, &error);

    if (s != DMPO_OK)
        return dm_fail(err, (dm_status)s, "%s", error.message);
    c->options = table ? table : cli_train_options();
    return cli_parse(c, own, common, args, argc, argv, err);
}

static void metrics_json(dm_json_writer *w, const char *name, const dmpo_metrics *m)
{
    dm_json_new_line(w);
    if (!m) {
        dm_json_put_null(w, name);
        return;
    }
    dm_json_open_object(w, name);
    dm_json_put_double(w, "loss", m->loss);
    dm_json_put_double(w, "rewards/margins", m->reward_margin);
    dm_json_put_double(w, "rewards/accuracies", m->reward_accuracy);
    dm_json_close_value(w);
}

static void run_json(dm_text *t, const dmpo_train_options *o, const dmpo_engine *engine, const dmpo_train_result *r)
{
    dm_json_writer w = {.out = t};

    dm_json_open_object(&w, NULL);
    dm_json_put_string(&w, "command", "train");
    dm_json_put_string(&w, "version", dmpo_version());
    dm_json_put_string(&w, "isa", dmpo_engine_isa(engine));
    dm_json_put_uint(&w, "threads", dmpo_engine_threads(engine));
    dm_json_new_line(&w);
    dm_json_open_object(&w, "options");
    cli_options_json(&w, cli_train_options(), NULL, o);
    dm_json_close_value(&w);
    dm_json_new_line(&w);
    dm_json_put_string(&w, "model_sha256", r->model_sha256);
    dm_json_put_string(&w, "data_sha256", r->data_sha256);
    dm_json_new_line(&w);
    dm_json_put_int(&w, "steps", r->steps);
    dm_json_put_string(&w, "weights_sha256", r->weights_sha256);
    dm_json_new_line(&w);
    dm_json_put_uint(&w, "planned_memory", r->planned_memory);
    dm_json_put_uint(&w, "peak_memory", r->peak_memory);
    metrics_json(&w, "before", r->before);
    metrics_json(&w, "after", r->after);
    dm_json_close_value(&w);
    dm_text_add(t, "\n", 1);
}

static dm_status write_run(const dmpo_train_options *o, const dmpo_engine *engine, const dmpo_train_result *r,
                           dm_error *err)
{
    dm_text t = {0};

    run_json(&t, o, engine, r);
    const dm_status s = cli_write(dmpo_train_options_get(o, "output"), "run.json", &t, err);
    dm_text_free(&t);
    return s;
}

static void print_result(const dmpo_train_options *o, const dmpo_engine *engine, const dmpo_train_result *r, bool json)
{
    if (json) {
        dm_text t = {0};
        run_json(&t, o, engine, r);
        fwrite(t.data, 1, t.size, stdout);
        dm_text_free(&t);
        return;
    }
    char peak[32];
    if (r->before && r->after) {
        printf("held-out loss      %.6f -> %.6f\n", r->before->loss, r->after->loss);
        if (!isnan(r->after->reward_margin)) {
            printf("held-out margin    %+.6f -> %+.6f\n", r->before->reward_margin, r->after->reward_margin);
            printf("held-out accuracy  %.4f -> %.4f\n", r->before->reward_accuracy, r->after->reward_accuracy);
        }
    }
    printf("steps              %lld\npeak memory        %s\nweights sha256     %s\n", (long long)r->steps,
           cli_bytes(peak, (double)r->peak_memory), r->weights_sha256);
}

int cli_train(int argc, char **argv)
{
    cli_common common = {0};
    cli_args args = {0};
    cli_progress progress;
    dmpo_engine *engine = NULL;
    dmpo_train_result result = {.size = sizeof result};
    dm_error err = {0};
    dmpo_error error = {0};

    dm_status s = parse(&train_command, NULL, NULL, &common, &args, argc, argv, &err);
    if (s == DM_OK && !args.help && !dmpo_train_options_get(args.train, "output"))
        s = dm_fail(&err, DM_ERR_ARGUMENT, "no output given; --output DIR names the directory for the trained model");
    int status = s != DM_OK ? cli_failed("train", s, err.message) : 0;
    if (status || args.help || (status = cli_open_engine("train", &common, &engine)) != 0)
        goto done;
    cli_catch_interrupt();
    cli_progress_open(&progress, &common);
    s = (dm_status)dmpo_train(engine, args.train, cli_progress_event, &progress, &result, &error);
    cli_progress_close(&progress);
    if (s != DM_OK)
        status = cli_failed("train", s, error.message);
    else if (dm_ranks_here()->self > 0)
        status = 0; /* rank 0 has the results */
    else if ((s = write_run(args.train, engine, &result, &err)) != DM_OK)
        status = cli_failed("train", s, err.message);
    else
        print_result(args.train, engine, &result, common.json);
done:
    dmpo_engine_close(&engine);
    dmpo_train_options_close(&args.train);
    cli_args_close(&args);
    return status;
}

static void plan_json(const dmpo_plan *p, const dm_rank_plan *rank, unsigned ranks)
{
    dm_text t = {0};
    dm_json_writer w = {.out = &t};

    dm_json_open_object(&w, NULL);
    dm_json_put_uint(&w, "total", p->total);
    dm_json_put_uint(&w, "smallest", p->smallest);
    dm_json_put_uint(&w, "layers", p->layers);
    dm_json_put_uint(&w, "recomputed", p->recomputed);
    dm_json_put_bool(&w, "kept_logits", p->kept_logits);
    dm_json_put_uint(&w, "tokens", p->tokens);
    dm_json_put_uint(&w, "packed_tokens", p->packed_tokens);
    dm_json_put_uint(&w, "longest_pack", p->longest_pack);
    dm_json_put_uint(&w, "parameters", p->parameters);
    dm_json_put_uint(&w, "trained", p->trained);
    for (size_t i = 0; i < p->lines; i++)
        dm_json_put_uint(&w, p->line[i].what, p->line[i].bytes);
    if (ranks)
        dm_json_open_array(&w, "ranks");
    for (unsigned i = 0; i < ranks; i++) {
        dm_json_open_object(&w, NULL);
        dm_json_put_uint(&w, "first_shard", rank[i].shards.begin);
        dm_json_put_uint(&w, "shards", rank[i].shards.end - rank[i].shards.begin);
        dm_json_put_uint(&w, "total", rank[i].memory);
        dm_json_put_uint(&w, "step_bytes", rank[i].step_bytes);
        dm_json_close_value(&w);
    }
    if (ranks)
        dm_json_close_value(&w);
    dm_json_close_value(&w);
    puts(t.data);
    dm_text_free(&t);
}

static void print_plan(const dmpo_plan *p)
{
    char buf[32];

    for (size_t i = 0; i < p->lines; i++)
        printf("%-40s %12s\n", p->line[i].what, cli_bytes(buf, (double)p->line[i].bytes));
    printf("%-40s %12s\n", "peak resident memory", cli_bytes(buf, (double)p->total));
    printf("%-40s %12s\n", "smallest --memory that works", cli_bytes(buf, (double)p->smallest));
    printf("%llu parameters", (unsigned long long)p->parameters);
    if (p->trained != p->parameters)
        printf(" and %llu of the adapter, which are trained", (unsigned long long)p->trained);
    printf("; longest item %llu tokens; recomputed in the backward: %u of %u layers%s\n",
           (unsigned long long)p->longest_pack, p->recomputed, p->layers, p->kept_logits ? "" : ", the logits");
    printf("a pass over the data has %llu tokens and computes %llu: what a pair's sides have in common, once\n",
           (unsigned long long)p->tokens, (unsigned long long)p->packed_tokens);
}

static void print_ranks(const dm_rank_plan *p, unsigned ranks)
{
    char memory[32], bytes[32];

    for (unsigned i = 0; i < ranks; i++)
        printf("rank %-3u shards %3zu to %-3zu peak %12s, sends in a step %12s\n", i, p[i].shards.begin,
               p[i].shards.end - 1, cli_bytes(memory, (double)p[i].memory), cli_bytes(bytes, (double)p[i].step_bytes));
}

int cli_plan(int argc, char **argv)
{
    static cli_option table[80];
    static dm_rank_plan rank[DM_RANKS_MAX];
    plan_options own = {0};
    cli_common common = {0};
    cli_args args = {0};
    dmpo_engine *engine = NULL;
    dmpo_plan plan = {.size = sizeof plan};
    dm_error err = {0};
    dmpo_error error = {0};

    memcpy(table, plan_own, sizeof plan_own);
    cli_library_options(table + 1, sizeof table / sizeof *table - 1, NULL);
    dm_status s = parse(&plan_command, table, &own, &common, &args, argc, argv, &err);
    int status = s != DM_OK ? cli_failed("plan", s, err.message) : 0;
    if (!status && !args.help && (status = cli_open_engine("plan", &common, &engine)) == 0) {
        const unsigned ranks = (unsigned)own.ranks;
        if (dmpo_plan_train(engine, args.train, &plan, &error) != DMPO_OK ||
            (ranks && dm_plan_ranks(engine, dm_train_options_values(args.train), ranks, rank, &error) != DMPO_OK)) {
            status = cli_failed("plan", error.status, error.message);
        } else if (common.json) {
            plan_json(&plan, rank, ranks);
        } else {
            print_plan(&plan);
            print_ranks(rank, ranks);
        }
    }
    dmpo_engine_close(&engine);
    dmpo_train_options_close(&args.train);
    cli_args_close(&args);
    return status;
}
