/* A model as a Hugging Face directory. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/durable.h"
#include "core/file.h"
#include "core/path.h"
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

/* "a/b/" and "a/b" are the same directory, but "a/b/.tmp-1" is not beside it. */
static dm_status temporary_name(dm_path *out, const char *dir, dm_error *err)
{
    size_t n = strlen(dir);

    while (n > 1 && dir[n - 1] == '/')
        n--;
    return dm_path_print(out, err, "%.*s.tmp-%ld", (int)n, dir, (long)getpid());
}

dm_status dm_write_hf(const char *dir, const dm_source *s, dm_weight_reader w, dm_dtype type, char hex[DM_SHA256_HEX],
                      dm_error *err)
{
    dm_path temporary;
    dm_status status = temporary_name(&temporary, dir, err);

    if (status != DM_OK)
        return status;
    if (dm_dir_exists(dir) || dm_file_exists(dir))
        return dm_fail(err, DM_ERR_FILE, "%s: already exists", dir);
    if (dm_dir_exists(temporary.text) &&
        (status = dm_dir_remove(temporary.text, err)) != DM_OK) /* of a run that was killed */
        return status;
    if ((status = dm_dir_create(temporary.text, err)) == DM_OK &&
        (status = dm_sidecar_config(s, type, temporary.text, err)) == DM_OK &&
        (status = dm_sidecar_tokenizer(s, NULL, temporary.text, err)) == DM_OK &&
        (status = write_weights(temporary.text, &s->layout, w, type, hex, err)) == DM_OK)
        status = dm_rename_durable(temporary.text, dir, err);
    if (status != DM_OK && dm_dir_exists(temporary.text))
        dm_dir_remove(temporary.text, NULL);
    return status;
}
