/* A model as a llama2.c file, which says little: what it cannot say is refused. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/numbers/exact.h"
#include "core/files/file.h"
#include "core/numbers/numeric.h"
#include "core/files/output.h"
#include "core/numbers/narrow.h"
#include "core/files/path.h"
#include "model/formats/gguf_names.h"
#include "model/formats/llama2c.h"
#include "model/formats/source_internal.h"
#include "model/formats/write.h"

enum { CHUNK = 4096 };

static bool differs(double a, double b)
{
    return a < b || a > b;
}

static dm_status check(const dm_source *s, dm_error *err)
{
    const dm_config *c = &s->config;

    if (c->arch != DM_ARCH_LLAMA && c->arch != DM_ARCH_MISTRAL)
        return dm_fail(err, DM_ERR_UNSUPPORTED, "%s: %s models have no form in llama2.c; llama ones have", s->path,
                       dm_arch_name(c->arch));
    if (c->window && c->window < c->max_positions)
        return dm_fail(err, DM_ERR_UNSUPPORTED, "%s: a sliding window has no form in llama2.c", s->path);
    if (differs(c->eps, DM_LLAMA2C_EPS) || differs(c->rope_theta, DM_LLAMA2C_THETA) || c->rope != DM_ROPE_DEFAULT)
        return dm_fail(err, DM_ERR_UNSUPPORTED,
                       "%s: rms_norm_eps %g, rope_theta %g%s; llama2.c has 1e-05, 10000 and no scaling, whatever the "
                       "model",
                       s->path, c->eps, c->rope_theta, c->rope != DM_ROPE_DEFAULT ? " and RoPE scaling" : "");
    if (c->heads * c->head_dim != c->hidden)
        return dm_fail(err, DM_ERR_UNSUPPORTED, "%s: %u heads of %u do not make the width %u, as llama2.c requires",
                       s->path, (unsigned)c->heads, (unsigned)c->head_dim, (unsigned)c->hidden);
    return DM_OK;
}

static void put(unsigned char *p, uint32_t x)
{
    for (int i = 0; i < 4; i++)
        p[i] = (unsigned char)(x >> 8 * i);
}

static dm_status write_header(dm_output *o, const dm_config *c, int version, dm_error *err)
{
    unsigned char bytes[DM_LLAMA2C_HEADER] = {0}, *p = bytes;
    const uint32_t vocab = version == 0 && !c->tied ? 0u - c->vocab : c->vocab;
    const uint32_t shape[7] = {c->hidden, c->intermediate, c->layers, c->heads, c->kv_heads, vocab, c->max_positions};

    if (version == 1) {
        memcpy(bytes, DM_LLAMA2C_MAGIC, 4);
        put(bytes + 4, 1);
        p += 8;
    }
    for (int i = 0; i < 7; i++, p += 4)
        put(p, shape[i]);
    *p = version == 1 && c->tied;
    return dm_output_add(o, bytes, version == 1 ? sizeof bytes : 28, err);
}

static dm_status write_floats(dm_output *o, const char *name, const float *x, size_t n, dm_error *err)
{
    unsigned char bytes[CHUNK * 4];

    for (size_t done = 0; done < n;) {
        const size_t part = n - done < CHUNK ? n - done : CHUNK, good = dm_narrow(DM_F32, x + done, part, bytes);
        dm_status s;
        if (good < part)
            return dm_fail(err, DM_ERR_NONFINITE, "%s: tensor \"%s\": element %zu is not finite", o->path, name,
                           done + good);
        if ((s = dm_output_add(o, bytes, part * 4, err)) != DM_OK)
            return s;
        done += part;
    }
    return DM_OK;
}

/* The cosines of all positions, then the sines. Readers skip them: they remain from the format's first form. */
static dm_status write_angles(dm_output *o, const dm_config *c, float *row, dm_error *err)
{
    const size_t half = c->head_dim / 2;
    dm_status s = DM_OK;

    for (int table = 0; table < 2; table++)
        for (size_t p = 0; s == DM_OK && p < c->max_positions; p++) {
            for (size_t i = 0; i < half; i++) {
                const double angle = (double)p / dm_pow(c->rope_theta, (double)(2 * i) / (double)c->head_dim);
                row[i] = (float)(table ? dm_sin(angle) : dm_cos(angle));
            }
            s = write_floats(o, "angles", row, half, err);
        }
    return s;
}

static dm_status write_tensor(dm_output *o, const dm_source *s, dm_weight_reader w, size_t index, float *room,
                              dm_error *err)
{
    const dm_tensor *t = &s->layout.tensors[index];
    const size_t heads = dm_gguf_paired_heads(&s->config, t->name), dim = heads ? t->rows / heads : 1;
    dm_status status = w.read(w.context, t->name, room, err);

    if (!heads)
        return status == DM_OK ? write_floats(o, t->name, room, t->rows * t->cols, err) : status;
    for (size_t r = 0; status == DM_OK && r < t->rows; r++) { /* halves to RoPE's pairs */
        const size_t in_head = r % dim, from = r - in_head + in_head % 2 * (dim / 2) + in_head / 2;
        status = write_floats(o, t->name, room + from * t->cols, t->cols, err);
    }
    return status;
}

static dm_status write_model(const char *path, bool overwrite, const dm_source *s, dm_weight_reader w, int version,
                             char hex[DM_SHA256_HEX], dm_error *err)
{
    dm_output o = {0};
    size_t most = s->config.head_dim, n = 0;
    dm_status status;

    for (size_t i = 0; i < s->layout.n; i++)
        if (s->layout.tensors[i].rows * s->layout.tensors[i].cols > most)
            most = s->layout.tensors[i].rows * s->layout.tensors[i].cols;
    float *room = malloc(most * sizeof *room);
    size_t *order = calloc(s->layout.n + 1, sizeof *order);
    if (!room || !order) {
        status = dm_fail(err, DM_ERR_MEMORY, "%s: no memory for its largest tensor", path);
    } else if ((status = dm_output_open_new(&o, path, overwrite, err)) == DM_OK) {
        n = dm_llama2c_order(order, &s->layout, &s->config, version);
        status = write_header(&o, &s->config, version, err);
        for (size_t i = 0; status == DM_OK && i < n; i++)
            status = order[i] == DM_LLAMA2C_ANGLES ? write_angles(&o, &s->config, room, err)
                                                   : write_tensor(&o, s, w, order[i], room, err);
        status = dm_output_close(&o, status, hex, err);
    }
    free(room);
    free(order);
    return status;
}

/* Writes the tokenizer beside the model; *made: it was not there before. The same one may be there already. */
static dm_status write_tokenizer(const char *path, const dm_tokenizer *t, size_t vocabulary, bool *made, dm_error *err)
{
    dm_path place, fresh;
    char here[DM_SHA256_HEX], there[DM_SHA256_HEX];
    dm_status s = dm_llama2c_tokenizer_path(&place, path, err);

    *made = false;
    if (s != DM_OK)
        return s;
    if (!dm_file_exists(place.text)) {
        s = dm_tokenizer_write_llama2c_for(t, vocabulary, place.text, err);
        *made = s == DM_OK;
        return s;
    }
    if ((s = dm_path_print(&fresh, err, "%s.tokenizer-%ld", path, (long)getpid())) != DM_OK)
        return s;
    if ((s = dm_tokenizer_write_llama2c_for(t, vocabulary, fresh.text, err)) == DM_OK &&
        (s = dm_file_sha256(fresh.text, here, err)) == DM_OK && (s = dm_file_sha256(place.text, there, err)) == DM_OK &&
        strcmp(here, there) != 0)
        s = dm_fail(err, DM_ERR_FILE, "%s: exists and is another tokenizer; write into another directory", place.text);
    unlink(fresh.text);
    return s;
}

dm_status dm_write_llama2c(const char *path, bool overwrite, const dm_source *s, dm_weight_reader w, int version,
                           bool *no_tokenizer, char hex[DM_SHA256_HEX], dm_error *err)
{
    dm_path place;
    dm_tokenizer *t = NULL;
    bool made = false;
    dm_status status;

    *no_tokenizer = false;
    if ((status = check(s, err)) != DM_OK || (status = dm_source_tokenizer(s, &t, NULL, NULL, err)) != DM_OK)
        return status;
    if (t)
        status = write_tokenizer(path, t, s->config.vocab, &made, err);
    if (status == DM_ERR_UNSUPPORTED) { /* the weights go without it */
        *no_tokenizer = true;
        status = DM_OK;
    }
    dm_tokenizer_close(&t);
    if (status == DM_OK)
        status = write_model(path, overwrite, s, w, version, hex, err);
    if (status != DM_OK && made && dm_llama2c_tokenizer_path(&place, path, NULL) == DM_OK)
        unlink(place.text);
    return status;
}
