/* dmpo plan: the options of dmpo train, only planned. */
#include <stdio.h>
#include <string.h>

#include "cli/call.h"
#include "cli/files.h"
#include "core/ranks.h"
#include "model/train/train.h"

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

static dm_status plan(cli_call *c, dm_error *err)
{
    static dm_rank_plan rank[DM_RANKS_MAX];
    const unsigned ranks = (unsigned)((const plan_options *)c->options)->ranks;
    dmpo_plan plan = {.size = sizeof plan};
    dmpo_error error = {0};
    dmpo_status s = dmpo_plan_train(c->engine, c->args.train, &plan, &error);

    if (s == DMPO_OK && ranks)
        s = (dmpo_status)dm_plan_ranks(c->engine, dm_train_options_values(c->args.train), ranks, rank, &error);
    if (s != DMPO_OK)
        return cli_call_api(s, &error, err);
    if (c->common.json) {
        plan_json(&plan, rank, ranks);
    } else {
        print_plan(&plan);
        print_ranks(rank, ranks);
    }
    return DM_OK;
}

int cli_plan(int argc, char **argv)
{
    static cli_option table[80];
    plan_options own = {0};
    cli_call call = {.command = &plan_command, .options = &own, .needs = CLI_TRAIN | CLI_ENGINE, .work = plan};

    memcpy(table, plan_own, sizeof plan_own);
    cli_library_options(table + 1, sizeof table / sizeof *table - 1, NULL, NULL);
    plan_command.options = table;
    return cli_call_run(&call, argc, argv);
}
