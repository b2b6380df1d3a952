#include "cli/plan_text.h"

#include <stdio.h>

#include "cli/args.h"

void cli_plan_json(dm_json_writer *out, const dmpo_plan *p)
{
    dm_json_put_uint(out, "total", p->total);
    dm_json_put_uint(out, "smallest", p->smallest);
    dm_json_put_uint(out, "layers", p->layers);
    dm_json_put_uint(out, "recomputed", p->recomputed);
    dm_json_put_bool(out, "kept_logits", p->kept_logits);
    dm_json_put_uint(out, "tokens", p->tokens);
    dm_json_put_uint(out, "packed_tokens", p->packed_tokens);
    dm_json_put_uint(out, "longest_pack", p->longest_pack);
    dm_json_put_uint(out, "parameters", p->parameters);
    dm_json_put_uint(out, "trained", p->trained);
    for (size_t i = 0; i < p->lines; i++)
        dm_json_put_uint(out, p->line[i].what, p->line[i].bytes);
}

void cli_plan_print(const dmpo_plan *p, bool data)
{
    char buf[32];

    for (size_t i = 0; i < p->lines; i++)
        printf("%-40s %12s\n", p->line[i].what, cli_bytes(buf, (double)p->line[i].bytes));
    printf("%-40s %12s\n", "peak resident memory", cli_bytes(buf, (double)p->total));
    printf("%-40s %12s\n", "smallest --memory that works", cli_bytes(buf, (double)p->smallest));
    printf("%llu parameters", (unsigned long long)p->parameters);
    if (p->trained != p->parameters)
        printf(" and %llu of the adapter, which are trained", (unsigned long long)p->trained);
    printf("; %s %llu tokens; recomputed in the backward: %u of %u layers%s\n",
           data ? "longest item" : "trajectories of at most", (unsigned long long)p->longest_pack, p->recomputed,
           p->layers, p->kept_logits ? "" : ", the logits");
    if (data)
        printf("a pass over the data has %llu tokens and computes %llu: what a pair's sides have in common, once\n",
               (unsigned long long)p->tokens, (unsigned long long)p->packed_tokens);
}
