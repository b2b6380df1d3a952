/* A LoRA adapter as a GGUF file: what llama.cpp's convert_lora_to_gguf.py writes and its --lora reads. A tensor of the
 * base that the adapter changes, NAME, has NAME.lora_a [rank, in] and NAME.lora_b [out, rank]; the rows of lora_b are
 * in the order in which GGUF has the base's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/gguf_write.h"
#include "model/formats/gguf_names.h"
#include "model/formats/write.h"

typedef struct reading {
    const dm_loaded_model *m;
    float *head; /* rows of one head */
} reading;

/* The base's tensor that one of the adapter's belongs to, by its name there. */
static void base_name(char out[DM_TENSOR_NAME], const dm_tensor *t)
{
    static const char before[] = "base_model.model.", after[] = ".lora_A.weight";
    const size_t skip = sizeof before - 1, n = strlen(t->name) - skip - (sizeof after - 1);

    snprintf(out, DM_TENSOR_NAME, "%.*s.weight", (int)n, t->name + skip);
}

static bool is_b(const dm_tensor *t)
{
    return strstr(t->name, ".lora_B.") != NULL;
}

static dm_status read_tensor(void *context, size_t i, float *out, dm_error *err)
{
    const reading *r = context;
    const dm_tensor *t = &r->m->lora.layout.tensors[i];
    char name[DM_TENSOR_NAME];

    (void)err;
    memcpy(out, r->m->adapter + t->offset, t->rows * t->cols * sizeof *out);
    base_name(name, t);
    const unsigned heads = is_b(t) ? dm_gguf_paired_heads(dm_source_config(r->m->source), name) : 0;
    if (heads)
        dm_gguf_pair_rows(out, t->rows, t->cols, heads, r->head);
    return DM_OK;
}

static void list_tensors(dm_gguf_out *out, const dm_loaded_model *m, dm_dtype type)
{
    char name[DM_TENSOR_NAME], own[DM_TENSOR_NAME];

    for (size_t i = 0; i < m->lora.layout.n; i++) {
        const dm_tensor *t = &m->lora.layout.tensors[i];
        out[i] = (dm_gguf_out){
            .type = type == DM_Q8_0 && t->cols % 32 ? DM_F16 : type, .dims = 2, .shape = {t->cols, t->rows}};
        base_name(name, t);
        dm_gguf_name(own, dm_source_config(m->source), name);
        snprintf(out[i].name, sizeof out[i].name, "%.80s.lora_%c", own, is_b(t) ? 'b' : 'a');
    }
}

dm_status dm_write_gguf_adapter(const char *path, bool overwrite, const dm_loaded_model *m, dm_dtype type,
                                char hex[DM_SHA256_HEX], dm_error *err)
{
    const dm_config *c = dm_source_config(m->source);
    const char *arch = dm_gguf_arch(c);
    dm_gguf_meta meta = {0};
    dm_status s = dm_gguf_check_form(m->source, err);

    if (s != DM_OK)
        return s;
    dm_gguf_out *out = calloc(m->lora.layout.n, sizeof *out);
    reading r = {m, calloc((size_t)c->head_dim * m->lora.o.rank, sizeof(float))};
    if (out && r.head) {
        dm_gguf_put_string(&meta, "general.architecture", arch, strlen(arch));
        dm_gguf_put_string(&meta, "general.type", "adapter", 7);
        dm_gguf_put_u32(&meta, "general.file_type", dm_gguf_file_type(type));
        dm_gguf_put_u32(&meta, "general.quantization_version", 2);
        dm_gguf_put_string(&meta, "adapter.type", "lora", 4);
        dm_gguf_put_f32(&meta, "adapter.lora.alpha",
                        m->lora.o.stabilised ? m->lora.scale * (float)m->lora.o.rank : (float)m->lora.o.alpha);
        list_tensors(out, m, type);
        s = dm_gguf_write(path, overwrite, &meta, out, m->lora.layout.n, read_tensor, &r, hex, err);
    } else {
        s = dm_fail(err, DM_ERR_MEMORY, "%s: no memory to write it", path);
    }
    dm_gguf_meta_free(&meta);
    free(out);
    free(r.head);
    return s;
}
