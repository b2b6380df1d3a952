#include "model/trace/run_graph.h"

dm_status dm_run_graph(dm_graph *g, dm_run *r, int64_t step, dm_error *err)
{
    const dm_train_options *o = &r->options;
    size_t n;
    const uint32_t *order = dm_run_batch(r, step, &n);

    const dm_graph_options graph = {
        .config = &r->models.config,
        .layout = &r->models.layout,
        .lora = r->models.policy.lora.o.rank ? &r->models.policy.lora : NULL,
        .items = r->train.data.items,
        .order = order,
        .n_items = n,
        .share_prefix = o->share_prefix,
        .narrow = true,
        .loss = r->loss,
        .adamw = {o->beta1, o->beta2, o->eps, o->weight_decay},
        .lr = dm_learning_rate(o->schedule, o->lr, step, r->warmup, r->steps),
        .max_grad_norm = o->max_grad_norm,
        .t = step + 1,
    };
    return dm_graph_build(g, &graph, err);
}
