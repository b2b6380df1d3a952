/* Writes a trace (docs/trace.md) from C or CUDA. Copy this file into a port.
 *
 *     trace t = {0};
 *     trace_put(&t, "step.0/item.0/model.norm.out", "F32", rows, cols, x, rows * cols * sizeof(float));
 *     trace_save(&t, "port.safetensors", manifest);        the manifest's JSON; 0: written
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct trace {
    char *header; /* of the tensors so far */
    unsigned char *data;
    size_t length, size;
    int failed;
} trace;

/* Copies a tensor [rows, cols] (rows 0: a vector [cols]) of `bytes` bytes. dtype: "F32", "F64", "BF16", "F16". From a
 * GPU: cudaMemcpy to the host first. */
static void trace_put(trace *t, const char *name, const char *dtype, size_t rows, size_t cols, const void *x,
                      size_t bytes)
{
    char entry[512], shape[64];
    snprintf(shape, sizeof shape, rows ? "%zu,%zu" : "%.0zu%zu", rows, cols); /* %.0zu of 0 is nothing */
    const int n = snprintf(entry, sizeof entry, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                           name, dtype, shape, t->size, t->size + bytes);
    char *header = realloc(t->header, t->length + (size_t)n + 1);
    t->header = header ? header : t->header;
    unsigned char *data = realloc(t->data, t->size + bytes + 1);
    t->data = data ? data : t->data;
    if (!header || !data || n >= (int)sizeof entry) {
        t->failed = 1;
        return;
    }
    memcpy(header + t->length, entry, (size_t)n + 1);
    memcpy(data + t->size, x, bytes);
    t->length += (size_t)n;
    t->size += bytes;
}

static int trace_save(trace *t, const char *path, const char *manifest)
{
    FILE *file = t->failed ? NULL : fopen(path, "wb");
    size_t quoted = strlen(manifest), length;
    for (const char *c = manifest; *c; c++)
        quoted += *c == '"' || *c == '\\';
    length = strlen("{\"__metadata__\":{\"manifest\":\"\"}}") + quoted + t->length;
    for (int i = 0; file && i < 8; i++)
        fputc((int)((uint64_t)length >> (8 * i) & 255), file);
    if (file)
        fputs("{\"__metadata__\":{\"manifest\":\"", file);
    for (const char *c = manifest; file && *c; c++)
        fprintf(file, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
    const int bad = !file || fprintf(file, "\"}%s}", t->header ? t->header : "") < 0 ||
                    fwrite(t->data, 1, t->size, file) != t->size;
    free(t->header);
    free(t->data);
    return (file && fclose(file) != 0) || bad;
}
