/* GGUF models in parts, NAME-00001-of-0000N.gguf: every tensor is that of the whole file, and so is the GGUF file that
 * is written from them. Parts that are missing, another model's or not the first are refused by name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files/file.h"
#include "io/gguf_write.h"
#include "model/formats/write.h"
#include "tests/support/check.h"
#include "tests/support/train_tool.h"

#define PARTS 3

typedef struct reading {
    const dm_gguf *g;
    const dm_gguf_tensor *const *list;
} reading;

static dm_status read_tensor(void *context, size_t i, float *out, dm_error *err)
{
    const reading *r = context;
    const dm_gguf_tensor *t = r->list[i];
    return dm_input_read(t->in, out, (size_t)t->size, t->offset, err);
}

typedef struct part {
    int no, count, tensors; /* what its keys say */
    size_t first, step;     /* its tensors: first, first + step, ... */
} part;

static void write_part(const dm_gguf *g, const char *name, const part *p)
{
    dm_gguf_meta m = {0};
    dm_gguf_out out[64] = {{.dims = 0}};
    const dm_gguf_tensor *list[64];
    size_t n = 0;
    dm_error err = {0};

    if (p->no == 0)
        dm_gguf_put_from(&m, g, "");
    dm_gguf_put_u32(&m, "split.no", (uint32_t)p->no);
    dm_gguf_put_u32(&m, "split.count", (uint32_t)p->count);
    dm_gguf_put_u32(&m, "split.tensors.count", (uint32_t)p->tensors);
    for (size_t i = p->first; i < dm_gguf_count(g) && n < 64; i += p->step, n++) {
        const dm_gguf_tensor *t = dm_gguf_at(g, i);
        CK(t->type == DM_F32);
        list[n] = t;
        out[n] = (dm_gguf_out){.type = t->type, .dims = t->dims, .shape = {t->shape[0], t->dims > 1 ? t->shape[1] : 1}};
        snprintf(out[n].name, sizeof out[n].name, "%.90s", t->name);
    }
    reading r = {g, list};
    CK_MSG(dm_gguf_write(at(name), true, &m, out, n, read_tensor, &r, NULL, &err) == DM_OK, "%s", err.message);
    dm_gguf_meta_free(&m);
}

static const char *const names[PARTS] = {"model-00001-of-00003.gguf", "model-00002-of-00003.gguf",
                                         "model-00003-of-00003.gguf"};

static void write_all(const dm_gguf *g)
{
    const int n = (int)dm_gguf_count(g);
    for (int k = 0; k < PARTS; k++)
        write_part(g, names[k], &(part){k, PARTS, n, (size_t)k, PARTS});
}

static void refused(dm_status status, const char *name, const char *says)
{
    dm_source *s = NULL;
    dm_error err = {0};
    const dm_status got = dm_source_open(&s, at(name), &err);
    CK_MSG(got == status && strstr(err.message, says) && !s, "%s: status %d, \"%s\" does not say \"%s\"", name, got,
           err.message, says);
    dm_source_close(&s);
}

static void check_same(void)
{
    dm_source *s = NULL;
    dm_error err = {0};
    char hex[DM_SHA256_HEX], again[DM_SHA256_HEX];

    if (!CK_MSG(dm_source_open(&s, at(names[0]), &err) == DM_OK, "%s", err.message))
        return;
    CK(dm_source_files(s) == PARTS && strcmp(dm_source_file(s, 2), at(names[2])) == 0);
    CK_MSG(dm_write_gguf(at("back.gguf"), true, s, dm_weight_reader_of_source(s), DM_F32, NULL, &err) == DM_OK, "%s",
           err.message);
    CK(same_file(at("whole.gguf"), at("back.gguf")));
    CK(dm_source_sha256(s, hex, &err) == DM_OK && dm_source_sha256(s, again, &err) == DM_OK && strcmp(hex, again) == 0);
    CK(dm_file_sha256(at(names[0]), again, &err) == DM_OK && strcmp(hex, again) != 0); /* the others count, too */
    dm_source_close(&s);
}

static void check_refusals(const dm_gguf *g)
{
    const int n = (int)dm_gguf_count(g);
    char says[PATH + 64];

    snprintf(says, sizeof says, "is part 2 of 3 of a model; name the first part, %s", at(names[0]));
    refused(DM_ERR_ARGUMENT, names[1], says);
    unlink(at(names[2]));
    snprintf(says, sizeof says, "%s: is missing: ", at(names[2]));
    refused(DM_ERR_FILE, names[0], says);
    write_part(g, names[2], &(part){1, PARTS, n, 2, PARTS});
    refused(DM_ERR_INPUT, names[0], "must be part 3 of 3, but its split.no is 1 and split.count 3");
    write_part(g, names[2], &(part){2, 4, n, 2, PARTS});
    refused(DM_ERR_INPUT, names[0], "must be part 3 of 3, but its split.no is 2 and split.count 4");
    CK(rename(at("whole.gguf"), at(names[2])) == 0);
    refused(DM_ERR_INPUT, names[0], "must be part 3 of 3, but its split.no is -1 and split.count -1");
    write_part(g, names[2], &(part){2, PARTS, n, 2 + PARTS, PARTS}); /* a tensor fewer */
    snprintf(says, sizeof says, "split.tensors.count is %d, but its 3 parts have %d tensors", n, n - 1);
    refused(DM_ERR_INPUT, names[0], says);
    write_part(g, names[2], &(part){2, PARTS, n, 1, PARTS}); /* part 2's */
    const int twice = n - (n - 2 + PARTS - 1) / PARTS + (n - 1 + PARTS - 1) / PARTS;
    write_part(g, names[0], &(part){0, PARTS, twice, 0, PARTS});
    dm_source *s = NULL;
    dm_error err = {0};
    CK(dm_source_open(&s, at(names[0]), &err) == DM_ERR_INPUT && strstr(err.message, "\" is in ") &&
       strstr(err.message, ", too"));
    write_all(g);
    write_part(g, names[0], &(part){3, PARTS, n, 0, PARTS});
    refused(DM_ERR_INPUT, names[0], "split.no is 3 and split.count 3");
    write_part(g, "model.gguf", &(part){0, PARTS, n, 0, PARTS});
    refused(DM_ERR_INPUT, "model.gguf", "so its name must end with -00001-of-00003.gguf");
}

int main(void)
{
    dm_source *s = NULL;
    dm_gguf *g = NULL;
    dm_error err = {0};

    work_open();
    make_model(at("model"), &small_shape);
    CK(dm_source_open(&s, at("model"), &err) == DM_OK &&
       dm_write_gguf(at("whole.gguf"), true, s, dm_weight_reader_of_source(s), DM_F32, NULL, &err) == DM_OK);
    dm_source_close(&s);
    if (CK_MSG(dm_gguf_open(&g, at("whole.gguf"), &err) == DM_OK, "%s", err.message)) {
        write_all(g);
        check_same();
        check_refusals(g);
    }
    dm_gguf_close(&g);
    work_close();
    return ck_done("gguf_parts");
}
