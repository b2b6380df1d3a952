/* A model as a Hugging Face directory. */
#include <stdlib.h>
#include <string.h>

#include "core/files/output.h"
#include "core/files/path.h"
#include "io/safetensors.h"
#include "model/formats/sidecar.h"
#include "model/formats/source_internal.h"
#include "model/formats/write.h"

static dm_status read_source(void *context, const char *name, float *out, dm_error *err)
{
    return dm_source_read_f32(context, name, out, err);
}

dm_weight_reader dm_weight_reader_of_source(const dm_source *s)
{
    return (dm_weight_reader){read_source, (void *)(uintptr_t)s};
}

typedef struct reading {
    const dm_st_out *tensors;
    dm_weight_reader w;
} reading;

static dm_status read_tensor(void *context, size_t i, float *out, dm_error *err)
{
    const reading *r = context;
    return r->w.read(r->w.context, r->tensors[i].name, out, err);
}

static dm_status write_weights(const char *dir, const dm_param_layout *layout, dm_weight_reader w, dm_dtype type,
                               char hex[DM_SHA256_HEX], dm_error *err)
{
    dm_path path;
    dm_st_out *out = calloc(layout->n, sizeof *out);
    dm_status s = dm_path_in(&path, dir, "model.safetensors", err);

    if (s == DM_OK && !out)
        s = dm_fail(err, DM_ERR_MEMORY, "%s: no memory for the list of tensors", path.text);
    for (size_t i = 0; s == DM_OK && i < layout->n; i++) {
        const dm_tensor *t = &layout->tensors[i];
        out[i] = (dm_st_out){.name = t->name, .type = type, .dims = t->dims};
        out[i].shape[0] = t->dims == 2 ? t->rows : t->cols;
        out[i].shape[1] = t->cols;
    }
    if (s == DM_OK) {
        reading r = {out, w};
        s = dm_st_write_from(path.text, out, layout->n, NULL, 0, read_tensor, &r, hex, err);
    }
    free(out);
    return s;
}

dm_status dm_write_hf(const char *dir, bool overwrite, const dm_source *s, dm_weight_reader w, dm_dtype type,
                      char hex[DM_SHA256_HEX], dm_error *err)
{
    dm_output_dir out;
    dm_status status = dm_output_dir_open(&out, dir, overwrite, err);
    const char *beside = out.temporary.text;

    if (status == DM_OK && (status = dm_sidecar_config(s, type, beside, err)) == DM_OK &&
        (status = dm_sidecar_tokenizer(s, NULL, beside, err)) == DM_OK)
        status = write_weights(beside, &s->layout, w, type, hex, err);
    return dm_output_dir_close(&out, status, err);
}
