/* dmpo plan: the options of dmpo train, only planned. */
#include <stdio.h>
#include <string.h>

#include "cli/call.h"
#include "cli/files.h"
#include "cli/plan_text.h"
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
    cli_plan_json(&w, p);
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
        cli_plan_print(&plan, true);
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
