#include "model/formats/tensors.h"

#include <stdlib.h>

#include "core/files/path.h"
#include "model/formats/source_check.h"

static dm_status check_shape(const dm_st *st, const dm_tensor *t, const char *where, const char *by, dm_error *err)
{
    const dm_st_tensor *stored = dm_st_find(st, t->name);
    const dm_source_found found = stored ? dm_source_found_st(st, stored) : (dm_source_found){0};

    return dm_source_check_shape(t, t->name, stored ? &found : NULL, where, by, err);
}

dm_status dm_tensors_read(float *w, const dm_param_layout *layout, const dm_st *st, const char *where, const char *by,
                          dm_error *err)
{
    dm_status s = DM_OK;

    for (size_t i = 0; s == DM_OK && i < layout->n; i++)
        s = check_shape(st, &layout->tensors[i], where, by, err);
    for (size_t i = 0; s == DM_OK && dm_st_count(st) > layout->n && i < dm_st_count(st); i++)
        if (!dm_param_layout_find(layout, dm_st_at(st, i)->name))
            s = dm_fail(err, DM_ERR_INPUT, "%s: tensor \"%s\" is not one that %s asks for", where,
                        dm_st_at(st, i)->name, by);
    for (size_t i = 0; s == DM_OK && i < layout->n; i++)
        s = dm_st_read_f32(st, dm_st_find(st, layout->tensors[i].name), w + layout->tensors[i].offset, err);
    return s;
}

dm_status dm_tensors_write(const float *w, const dm_param_layout *layout, const char *path,
                           const char *const (*metadata)[2], size_t n_metadata, char hex[DM_SHA256_HEX], dm_error *err)
{
    dm_st_out *out = calloc(layout->n, sizeof *out);

    if (!out)
        return dm_fail(err, DM_ERR_MEMORY, "%s: no memory to write it", path);
    for (size_t i = 0; i < layout->n; i++) {
        const dm_tensor *t = &layout->tensors[i];
        out[i] = (dm_st_out){.name = t->name, .type = DM_F32, .dims = t->dims, .data = w + t->offset};
        dm_tensor_shape(t, out[i].shape);
    }
    const dm_status s = dm_st_write(path, out, layout->n, metadata, n_metadata, hex, err);
    free(out);
    return s;
}

dm_status dm_weights_write(const float *w, const dm_param_layout *layout, const char *dir, char hex[DM_SHA256_HEX],
                           dm_error *err)
{
    dm_path path;
    const dm_status s = dm_path_in(&path, dir, "model.safetensors", err);

    return s == DM_OK ? dm_tensors_write(w, layout, path.text, NULL, 0, hex, err) : s;
}
