#include "model/formats/loaded_model.h"

#include <string.h>

#include "model/formats/adapter.h"

dm_status dm_loaded_model_open(dm_loaded_model *o, const char *path, const char *base, dm_error *err)
{
    dm_lora_options lora = {0};
    dm_status s;

    *o = (dm_loaded_model){0};
    if ((s = dm_source_open_on(&o->source, path, base, err)) != DM_OK || !dm_source_adapter(o->source))
        return s;
    if ((s = dm_adapter_config(&lora, NULL, dm_source_adapter(o->source), err)) != DM_OK)
        return s;
    return dm_lora_build(&o->lora, &lora, dm_source_config(o->source), err);
}

void dm_loaded_model_close(dm_loaded_model *o)
{
    dm_source_close(&o->source);
    dm_lora_free(&o->lora);
}

dm_status dm_loaded_model_hash(dm_loaded_model *o, dm_error *err)
{
    if (*o->sha256)
        return DM_OK;
    const dm_status s = dm_source_base_sha256(o->source, o->base_sha256, err);
    return s == DM_OK ? dm_source_sha256(o->source, o->sha256, err) : s;
}

dm_status dm_loaded_model_layout(dm_param_layout *out, const dm_loaded_model *o, bool stored, dm_error *err)
{
    const dm_status s = dm_param_layout_build(out, dm_source_config(o->source), err);

    for (size_t i = 0; s == DM_OK && stored && i < out->n; i++) {
        dm_tensor *t = &out->tensors[i];
        const dm_dtype type = dm_source_type(o->source, t->name);
        const bool kept = type == DM_F16 || type == DM_BF16 || (type >= DM_DTYPE_PLAIN && type < DM_DTYPE_COUNT);
        t->type = t->dims == 2 && kept ? type : DM_F32;
    }
    if (s == DM_OK)
        dm_param_layout_place(out);
    return s;
}

void dm_loaded_model_place(dm_loaded_model *o, dm_arena *arena)
{
    o->adapter = o->lora.o.rank ? dm_arena_zalloc(arena, o->lora.layout.floats, sizeof(float)) : NULL;
}

dm_status dm_loaded_model_read_base(float *w, const dm_param_layout *layout, const dm_loaded_model *o, dm_error *err)
{
    dm_status s = DM_OK;

    for (size_t i = 0; s == DM_OK && i < layout->n; i++) {
        const dm_tensor *t = &layout->tensors[i];
        s = t->type == DM_F32 ? dm_source_read_f32(o->source, t->name, w + t->offset, err)
                              : dm_source_read_stored(o->source, t->name, w + t->offset, err);
    }
    return s;
}

dm_status dm_loaded_model_read_adapter(dm_loaded_model *o, dm_error *err)
{
    dm_status s = DM_OK;

    if (!o->adapter)
        return s;
    if (!*o->base_sha256)
        s = dm_source_base_sha256(o->source, o->base_sha256, err);
    return s == DM_OK ? dm_adapter_read(o->adapter, &o->lora, dm_source_adapter(o->source), o->base_sha256, err) : s;
}

void dm_loaded_model_use(const dm_loaded_model *o, dm_network *n)
{
    n->lora = o->adapter ? &o->lora : NULL;
    n->adapter = o->adapter;
}
