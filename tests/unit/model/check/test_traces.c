/* Traces that others write: docs/examples/port/trace.h writes what check reads; compare recognises a transposed tensor,
 * fused projections, heads whose pairs are neighbours, sides that are padded to a batch in a .npy file, and finds a
 * value that was changed. Every layout that dm_layout_value knows, of tensors that are laid out here by plain loops. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "docs/examples/port/trace.h"
#include "model/check/check.h"
#include "model/check/compare.h"
#include "model/trace/import.h"
#include "model/trace/reader.h"
#include "tests/support/check.h"

#define SOURCE "tests/data/bugs/rope_theta.safetensors" /* a trace that ends with layer 0's turned queries */
#define ROPE "item.0/model.layers.0.self_attn.q_rope.out"
#define QUERY "item.0/model.layers.0.self_attn.q_proj.out"

typedef enum change { PLAIN, TRANSPOSED, FUSED, NEIGHBOURS, CHANGED } change;

static void put(trace *t, const char *name, size_t rows, size_t cols, const double *x)
{
    char full[300];

    snprintf(full, sizeof full, "step.0/%s", name);
    trace_put(t, full, "F64", rows, cols, x, (rows ? rows : 1) * cols * sizeof *x);
}

/* The tensor x [rows, cols] as the change has it, in y. */
static void rearrange(double *y, const double *x, size_t rows, size_t cols, size_t dim, change how)
{
    for (size_t i = 0; i < rows * cols; i++) {
        const size_t row = i / cols, col = i % cols, in = col % dim;
        const size_t place = in < dim / 2 ? 2 * in : 2 * (in - dim / 2) + 1;
        y[how == TRANSPOSED ? col * rows + row : how == NEIGHBOURS ? row * cols + col - in + place : i] = x[i];
    }
    if (how == CHANGED)
        y[cols + 1] += 0.5;
}

static void put_fused(trace *t, const double *x, size_t rows, size_t cols)
{
    double *y = calloc(rows * 2 * cols, sizeof *y);

    for (size_t i = 0; i < rows * cols && y; i++)
        y[i / cols * 2 * cols + i % cols] = x[i];
    put(t, "item.0/model.layers.0.self_attn.qkv_proj.out", rows, 2 * cols, y);
    free(y);
}

/* Writes SOURCE again with one tensor changed. */
static void copy(const dm_st *st, const dm_manifest *m, const char *path, change how)
{
    const char *target = how == FUSED ? QUERY : ROPE;
    trace t = {0};
    dm_error err = {0};

    for (size_t i = 0; i < dm_st_count(st); i++) {
        const dm_st_tensor *s = dm_st_at(st, i);
        const size_t n = (size_t)s->count, cols = (size_t)s->shape[s->dims - 1], rows = s->dims > 1 ? n / cols : 0;
        double *x = malloc((n + 1) * sizeof *x), *y = malloc((n + 1) * sizeof *y);
        uint64_t wrong;
        const char *name = strchr(s->name, '/') + 1;
        if (!CK(x && y && dm_trace_values(st, s, x, &wrong, &err) == DM_OK))
            break;
        if (strcmp(name, target) != 0)
            put(&t, name, rows, cols, x);
        else if (how == FUSED)
            put_fused(&t, x, rows, cols);
        else {
            rearrange(y, x, rows, cols, m->config.head_dim, how);
            put(&t, name, how == TRANSPOSED ? cols : rows, how == TRANSPOSED ? rows : cols, y);
        }
        free(x);
        free(y);
    }
    CK(trace_save(&t, path, dm_st_metadata(st, "manifest")) == 0);
}

/* Sides of 10 and 9 rows as a batch [2, LENGTH, cols] in a .npy file, the other rows not numbers. */
#define LENGTH 12
static void save_batch(const dm_st *st, const char *path, bool left)
{
    static const size_t sides[] = {10, 9};
    double x[19 * 16], y[2 * LENGTH * 16];
    dm_error err = {0};
    uint64_t wrong;
    const dm_st_tensor *s = dm_st_find(st, "step.0/" ROPE);
    FILE *f = fopen(path, "wb");

    if (!CK(f && s && s->count == 19 * 16 && dm_trace_values(st, s, x, &wrong, &err) == DM_OK))
        return;
    for (size_t i = 0; i < sizeof y / sizeof *y; i++)
        y[i] = NAN;
    for (size_t side = 0, row = 0; side < 2; row += sides[side++])
        memcpy(y + (side * LENGTH + (left ? LENGTH - sides[side] : 0)) * 16, x + row * 16,
               sides[side] * 16 * sizeof *x);
    fwrite("\x93NUMPY\x01\x00\x76\x00", 1, 10, f);
    fprintf(f, "%-117s\n", "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 12, 16), }");
    fwrite(y, sizeof *y, sizeof y / sizeof *y, f);
    CK(fclose(f) == 0);
}

typedef struct seen {
    const char *name;
    dm_layout layout;
    dm_difference difference;
} seen;

static void on_pair(void *context, const dm_pair_finding *f)
{
    seen *s = context;

    if (strcmp(f->node->name, s->name) == 0) {
        s->layout = f->layout;
        s->difference = f->difference;
    }
}

static void on_finding(void *context, const dm_finding *f)
{
    if (f->verdict == DM_VERDICT_WRONG && strcmp(f->node->name, ROPE) == 0)
        *(const dm_bug **)context = f->n_bugs ? f->bugs[0] : NULL;
}

static void compare(const dm_st *a, const dm_manifest *m, change how, dm_layout layout, dm_difference difference)
{
    static const char path[] = "traces-test.safetensors";
    seen s = {.name = how == FUSED ? QUERY : ROPE, .layout = DM_LAYOUT_OTHER};
    dm_compare_counts counts;
    dm_error err = {0};
    dm_st *b = NULL;

    copy(a, m, path, how);
    if (CK_MSG(dm_st_open(&b, path, &err) == DM_OK, "%s", err.message)) {
        const dm_compare_options o = {.a = a, .b = b, .m = m};
        CK_MSG(dm_compare_traces(&o, on_pair, &s, &counts, &err) == DM_OK, "%s", err.message);
        CK_MSG(s.layout == layout && s.difference == difference, "change %d: %s, %s", (int)how,
               dm_layout_name(s.layout), dm_difference_name(s.difference));
        if (how == PLAIN) {
            const dm_bug *bug = NULL;
            dm_check_counts n;
            CK(dm_check_trace(b, m, NULL, false, on_finding, &bug, &n, &err) == DM_OK);
            CK(bug && strcmp(bug->name, "another base") == 0);
        }
    }
    dm_st_close(&b);
    remove(path);
}

static void compare_batch(const dm_st *a, const dm_manifest *m, bool left)
{
    static const char path[] = "q_rope.npy", map[] = "{\"" ROPE "\": \"q_rope\"}";
    seen s = {.name = ROPE, .layout = DM_LAYOUT_OTHER};
    dm_compare_counts counts;
    dm_error err = {0};
    dm_json_doc *doc = NULL;
    dm_st *b = NULL;

    save_batch(a, path, left);
    if (CK_MSG(dm_trace_open(&b, path, &err) == DM_OK, "%s", err.message) &&
        CK(dm_json_parse(&doc, map, strlen(map), "map", &err) == DM_OK)) {
        const dm_compare_options o = {.a = a, .b = b, .m = m, .map = dm_json_root(doc)};
        CK_MSG(dm_compare_traces(&o, on_pair, &s, &counts, &err) == DM_OK, "%s", err.message);
        CK_MSG(s.layout == (left ? DM_LAYOUT_PADDED_LEFT : DM_LAYOUT_PADDED) && s.difference == DM_DIFFERENCE_NONE,
               "%s, %s", dm_layout_name(s.layout), dm_difference_name(s.difference));
    }
    dm_json_close(&doc);
    dm_st_close(&b);
    remove(path);
}

/* ---- layouts ---- */

enum { HEADS = 4, GROUPS = 2, DIM = 4, WIDE = 6, CHOSEN = 7, REJECTED = 6, COMMON = 3, LONG = 9 };

static double number(size_t row, size_t col)
{
    return (double)(100 * row + col) + 0.25;
}

/* Packed row of position t of a side. */
static size_t packed(size_t side, size_t t)
{
    return side == 0 || t < COMMON ? t : CHOSEN + t - COMMON;
}

static void check_layout(const dm_graph *g, const dm_node *n, const double *x, size_t count, const uint64_t *shape,
                         unsigned dims, int part, dm_layout l)
{
    const dm_layout_source b = {x, shape, dims, count, part};
    const size_t size = strlen(n->name);
    const bool gradient = strcmp(n->name + size - 5, ".grad") == 0;
    size_t wrong = 0;
    double y;

    for (size_t row = 0; row < n->rows; row++)
        for (size_t col = 0; col < n->cols; col++)
            wrong += !dm_layout_value(g, n, &b, l, row, col, &y) ||
                     y != number(row, col) * (gradient && row < COMMON ? 2 : 1);
    CK_MSG(wrong == 0, "%s, %s: %zu elements", n->name, dm_layout_name(l), wrong);
}

/* [sides, length, heads, dim] or [sides, heads, length, dim], of packed rows that share a beginning. */
static void check_padded(const dm_graph *g)
{
    static double x[2 * LONG * HEADS * DIM];
    const size_t size[] = {CHOSEN, REJECTED};
    static char plain[] = "item.0/q.out", gradient[] = "item.0/q.grad";

    for (int variant = 0; variant < 8; variant++) {
        const bool left = variant & 1, first = variant & 2;
        const dm_node n = {
            .name = variant & 4 ? gradient : plain, .rows = CHOSEN + REJECTED - COMMON, .cols = HEADS * DIM, .dims = 2};
        const uint64_t shape[] = {2, first ? HEADS : LONG, first ? LONG : HEADS * DIM, DIM};
        for (size_t i = 0; i < sizeof x / sizeof *x; i++)
            x[i] = NAN;
        for (size_t s = 0; s < 2; s++)
            for (size_t t = 0; t < size[s]; t++)
                for (size_t h = 0; h < HEADS; h++)
                    for (size_t i = 0; i < DIM; i++) {
                        const size_t at = left ? LONG - size[s] + t : t;
                        x[first ? ((s * HEADS + h) * LONG + at) * DIM + i : ((s * LONG + at) * HEADS + h) * DIM + i] =
                            number(packed(s, t), h * DIM + i);
                    }
        check_layout(g, &n, x, sizeof x / sizeof *x, shape, first ? 4 : 3, -1,
                     first  ? left ? DM_LAYOUT_PADDED_LEFT_HEADS : DM_LAYOUT_PADDED_HEADS
                     : left ? DM_LAYOUT_PADDED_LEFT
                            : DM_LAYOUT_PADDED);
    }
}

/* [1, heads, rows, dim], and one number for each head: [1, heads, rows]. */
static void check_heads(const dm_graph *g)
{
    enum { ROWS = CHOSEN + REJECTED - COMMON };
    static double x[HEADS * ROWS * DIM], y[HEADS * ROWS];
    static char name[] = "item.0/attn.out";
    const uint64_t shape[] = {1, HEADS, ROWS, DIM};
    const dm_node n = {.name = name, .rows = ROWS, .cols = HEADS * DIM, .dims = 2};
    const dm_node one = {.name = name, .rows = ROWS, .cols = HEADS, .dims = 2};

    for (size_t h = 0; h < HEADS; h++)
        for (size_t r = 0; r < ROWS; r++) {
            y[h * ROWS + r] = number(r, h);
            for (size_t i = 0; i < DIM; i++)
                x[(h * ROWS + r) * DIM + i] = number(r, h * DIM + i);
        }
    check_layout(g, &n, x, sizeof x / sizeof *x, shape, 4, -1, DM_LAYOUT_HEADS_FIRST);
    check_layout(g, &one, y, sizeof y / sizeof *y, shape, 3, -1, DM_LAYOUT_HEADS_FIRST);
}

/* q, k, v and gate, up of fused projections: activations [rows, fused], weights [fused, 5] and [5, fused]. */
static void check_fused(const dm_graph *g)
{
    enum { ROWS = 5, QKV = (HEADS + 2 * GROUPS) * DIM };
    static const char *const names[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj",
                                        "mlp.up_proj"};
    static const dm_layout layouts[2][2] = {{DM_LAYOUT_FUSED, DM_LAYOUT_FUSED_GROUPS},
                                            {DM_LAYOUT_FUSED_TRANSPOSED, DM_LAYOUT_FUSED_GROUPS_TRANSPOSED}};
    static double x[ROWS * QKV];
    char name[64], other[64];

    for (int variant = 0; variant < 5 * 2 * 3; variant++) {
        const int part = variant % 5, kind = variant / 10; /* activations, weights, weights with inputs first */
        const bool groups = variant / 5 % 2;
        const size_t width = part < 3 ? QKV : 2 * WIDE, own = part == 0 ? HEADS * DIM : part < 3 ? GROUPS * DIM : WIDE;
        const uint64_t shape[] = {kind == 1 ? width : ROWS, kind == 1 ? ROWS : width};
        int found = -1;
        for (size_t i = 0; i < sizeof x / sizeof *x; i++)
            x[i] = NAN;
        for (size_t j = 0; j < own; j++) {
            const size_t before[] = {0, HEADS * DIM, (HEADS + GROUPS) * DIM, 0, WIDE};
            size_t at = before[part] + j;
            if (groups && part >= 3)
                at = 2 * j + (size_t)(part - 3);
            else if (groups) /* [groups][queries, key, value][dim] */
                at = part == 0 ? j / (2 * DIM) * 4 * DIM + j % (2 * DIM)
                               : j / DIM * 4 * DIM + (part == 1 ? 2 : 3) * DIM + j % DIM;
            for (size_t r = 0; r < ROWS; r++)
                x[kind == 1 ? at * ROWS + r : r * width + at] = kind ? number(j, r) : number(r, j);
        }
        snprintf(name, sizeof name, "item.0/%s.%s", names[part], kind ? "weight" : "out");
        CK(dm_layout_fused_name(name, 0, other, sizeof other, &found) && found == part &&
           strstr(other, part < 3 ? "qkv" : "gate_up"));
        const dm_node n = {.name = name, .rows = kind ? own : ROWS, .cols = kind ? ROWS : own, .dims = 2};
        check_layout(g, &n, x, ROWS * width, shape, 2, part, layouts[kind == 2][groups]);
    }
}

static void check_layouts(void)
{
    static const int32_t ids[2][CHOSEN] = {{1, 2, 3, 4, 5, 6, 7}, {1, 2, 3, 5, 6, 7}};
    dm_span turns[] = {{.begin = 5, .end = 6}};
    const dm_data_item item = {
        .chosen = {.ids = (int32_t *)(uintptr_t)ids[0], .n = CHOSEN, .turns = turns, .n_turns = 1, .n_actions = 1},
        .rejected = {.ids = (int32_t *)(uintptr_t)ids[1], .n = REJECTED, .turns = turns, .n_turns = 1, .n_actions = 1}};
    const dm_config config = {.heads = HEADS, .kv_heads = GROUPS, .head_dim = DIM, .intermediate = WIDE};
    const dm_pack_size size = dm_pack_measure(&item, true);
    dm_graph_item of = {.item = &item};
    dm_graph g = {.o = {.config = &config, .n_items = 1}, .items = &of};
    dm_error err = {0};
    dm_arena measure = dm_arena_measure();

    dm_pack_place(&of.pack, &measure, &size);
    if (!CK_MSG(dm_arena_open(&of.arena, measure.peak + 64, &err) == DM_OK, "%s", err.message))
        return;
    dm_pack_place(&of.pack, &of.arena, &size);
    dm_pack_build(&of.pack, &item, true);
    CK(of.pack.rows == CHOSEN + REJECTED - COMMON);
    check_padded(&g);
    check_heads(&g);
    check_fused(&g);
    dm_arena_close(&of.arena);
}

int main(void)
{
    const char *src = getenv("SRC");
    char path[1024];
    dm_error err = {0};
    dm_st *st = NULL;
    dm_manifest m = {0};

    snprintf(path, sizeof path, "%s/" SOURCE, src ? src : ".");
    if (CK_MSG(dm_st_open(&st, path, &err) == DM_OK && dm_manifest_read(&m, st, path, &err) == DM_OK, "%s",
               err.message)) {
        compare(st, &m, PLAIN, DM_LAYOUT_SAME, DM_DIFFERENCE_NONE);
        compare(st, &m, TRANSPOSED, DM_LAYOUT_TRANSPOSED, DM_DIFFERENCE_NONE);
        compare(st, &m, FUSED, DM_LAYOUT_FUSED, DM_DIFFERENCE_NONE);
        compare(st, &m, NEIGHBOURS, DM_LAYOUT_INTERLEAVED, DM_DIFFERENCE_NONE);
        compare_batch(st, &m, false);
        compare_batch(st, &m, true);
        compare(st, &m, CHANGED, DM_LAYOUT_SAME, DM_DIFFERENCE_DIVERGES);
    }
    check_layouts();
    dm_manifest_close(&m);
    dm_st_close(&st);
    return ck_done("traces");
}
