/* Learning curves from metrics.jsonl, in as many points as a chart can show. */
#include <stdlib.h>

#include "agent/report/report_data.h"
#include "core/files/file.h"

#define BINS 40

static const char *const keys[DM_REPORT_MEASURES] = {"loss", "rewards/accuracies", "rewards/margins", "reward"};

/* The next record of this kind that has the measure, from v on; NULL: none. */
static const dm_json *next_record(const dm_json *v, const char *kind, const char *key)
{
    for (; v; v = v->next) {
        const dm_json *x = dm_json_get(v, key), *epoch = dm_json_get(v, "epoch");
        if (dm_json_is(dm_json_get(v, "kind"), kind) && x && x->type == DM_JSON_NUMBER && epoch &&
            epoch->type == DM_JSON_NUMBER)
            break;
    }
    return v;
}

static size_t count(const dm_json *root, const char *kind, const char *key)
{
    size_t n = 0;
    for (const dm_json *v = root->child; (v = next_record(v, kind, key)) != NULL; v = v->next)
        n++;
    return n;
}

/* Means over bins of the same number of records. */
static void read_curve(dm_report *r, const dm_json *root, const char *kind, const char *key, dm_report_curve *c)
{
    const size_t records = count(root, kind, key), bins = records < BINS ? records : BINS;
    size_t i = 0;

    if (records == 0)
        return;
    double *x = dm_report_alloc(r, bins, sizeof *x), *y = dm_report_alloc(r, bins, sizeof *y),
           *weight = dm_report_alloc(r, bins, sizeof *weight);
    if (r->status != DM_OK)
        return;
    for (const dm_json *v = root->child; (v = next_record(v, kind, key)) != NULL; v = v->next) {
        const size_t bin = i++ * bins / records;
        x[bin] += dm_json_get(v, "epoch")->number;
        y[bin] += dm_json_get(v, key)->number;
        weight[bin]++;
    }
    for (size_t k = 0; k < bins; k++) {
        x[k] /= weight[k];
        y[k] /= weight[k];
    }
    c->x = x;
    c->y = y;
    c->n = bins;
}

void dm_report_read_metrics(dm_report *r, dm_report_training *t)
{
    dm_json_doc *doc = NULL;
    char *data = NULL;
    size_t size = 0;
    const char *path = r->status == DM_OK ? dm_report_path(r, t->metrics) : NULL;

    if (r->status != DM_OK || !dm_file_exists(path)) /* a directory without its stages still has its table */
        return;
    if ((r->status = dm_file_read(path, DM_JSON_BYTES, &data, &size, r->err)) == DM_OK)
        r->status = dm_json_parse_lines(&doc, data, size, path, r->err);
    for (size_t f = 0; f < DM_REPORT_MEASURES && r->status == DM_OK; f++) {
        dm_report_curve *c = &t->curve[f];
        const dm_json *root = dm_json_root(doc);
        c->held_out = f != DM_REPORT_LOSS && count(root, "eval", keys[f]) > 1;
        read_curve(r, root, c->held_out ? "eval" : "train", keys[f], c);
    }
    dm_json_close(&doc);
    free(data);
}
