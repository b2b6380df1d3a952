/* A model in a Hugging Face directory: config.json and safetensors. */
#include <stdlib.h>
#include <string.h>

#include "model/formats/source_internal.h"

static const char by[] = "config.json";

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* What old files hold beside the parameters. */
static bool may_be_extra(const char *name, const dm_config *c)
{
    return ends_with(name, ".rotary_emb.inv_freq") || (c->tied && strcmp(name, "lm_head.weight") == 0);
}

/* A tied model's file may hold the head too, as long as it is the embedding: a head of its own that config.json denies
 * is one that some readers use and others drop. */
static dm_status check_head(const dm_source *s, dm_error *err)
{
    const dm_st_tensor *head = s->config.tied ? dm_st_find(s->st, "lm_head.weight") : NULL;
    bool same = true;
    const dm_status status =
        head ? dm_st_same(s->st, head, dm_st_find(s->st, s->layout.embed->name), &same, err) : DM_OK;

    if (status != DM_OK || same)
        return status;
    return dm_fail(err, DM_ERR_INPUT,
                   "%s: tensor \"lm_head.weight\" is not the embedding, but config.json says tie_word_embeddings true; "
                   "write false there to use this head, or take the tensor out",
                   dm_st_path(s->st, head));
}

/* Every tensor there with its shape and a type that is read, no other. */
static dm_status match(dm_source *s, dm_error *err)
{
    dm_status status;

    for (size_t i = 0; i < s->layout.n; i++) {
        const dm_tensor *t = &s->layout.tensors[i];
        const dm_st_tensor *found = dm_st_find(s->st, t->name);
        const dm_source_found f = found ? dm_source_found_st(s->st, found) : (dm_source_found){0};
        if ((status = dm_source_check_shape(t, t->name, found ? &f : NULL, s->path, by, err)) != DM_OK || !found)
            return status;
        s->tensors[i] = (dm_source_tensor){.type = found->type, .st = found};
    }
    for (size_t i = 0; dm_st_count(s->st) > s->layout.n && i < dm_st_count(s->st); i++) {
        const dm_st_tensor *t = dm_st_at(s->st, i);
        if (may_be_extra(t->name, &s->config) || dm_param_layout_find(&s->layout, t->name))
            continue;
        const dm_source_found f = dm_source_found_st(s->st, t);
        return dm_source_fail_extra(&f, &s->config, by, err);
    }
    return check_head(s, err);
}

dm_status dm_source_open_hf(dm_source *s, dm_error *err)
{
    dm_status status;

    if ((status = dm_config_read(&s->config, s->path, err)) != DM_OK ||
        (status = dm_param_layout_build(&s->layout, &s->config, err)) != DM_OK ||
        (status = dm_st_open(&s->st, s->path, err)) != DM_OK)
        return status;
    s->tensors = calloc(s->layout.n, sizeof *s->tensors);
    return s->tensors ? match(s, err) : dm_fail(err, DM_ERR_MEMORY, "%s: no memory for the list of tensors", s->path);
}
