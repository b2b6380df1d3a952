/* Learning curves from metrics.jsonl, few enough points to be drawn. */
#include <math.h> /* NAN and isnan only */
#include <stdlib.h>
#include <string.h>

#include "agent/report/report_internal.h"
#include "core/file.h"

#define BINS 40

static const char *const keys[DM_REPORT_MEASURES] = {"loss", "rewards/accuracies", "rewards/margins"};

/* How many records of this kind tell the figure. */
static size_t count(const dm_json *root, const char *kind, const char *key)
{
    size_t n = 0;
    for (const dm_json *v = root->child; v; v = v->next) {
        const dm_json *x = dm_json_get(v, key), *epoch = dm_json_get(v, "epoch");
        n += dm_json_is(dm_json_get(v, "kind"), kind) && x && x->type == DM_JSON_NUMBER && epoch &&
             epoch->type == DM_JSON_NUMBER;
    }
    return n;
}

/* Means over bins of the same number of records; an evaluation is a point of its own. */
static dm_status read_curve(dm_report *r, const dm_json *root, const char *kind, const char *key, dm_report_curve *c,
                            dm_error *err)
{
    const size_t records = count(root, kind, key), bins = records < BINS ? records : BINS;
    size_t i = 0;

    if (records == 0)
        return DM_OK;
    double *x = dm_report_alloc(r, bins, sizeof *x), *y = dm_report_alloc(r, bins, sizeof *y),
           *weight = dm_report_alloc(r, bins, sizeof *weight);
    if (!x || !y || !weight)
        return dm_report_no_memory(err);
    for (const dm_json *v = root->child; v; v = v->next) {
        const dm_json *value = dm_json_get(v, key), *epoch = dm_json_get(v, "epoch");
        if (!dm_json_is(dm_json_get(v, "kind"), kind) || !value || value->type != DM_JSON_NUMBER || !epoch ||
            epoch->type != DM_JSON_NUMBER)
            continue;
        const size_t bin = i++ * bins / records;
        x[bin] += epoch->number;
        y[bin] += value->number;
        weight[bin]++;
    }
    for (size_t k = 0; k < bins; k++) {
        x[k] /= weight[k];
        y[k] /= weight[k];
    }
    c->x = x;
    c->y = y;
    c->n = bins;
    return DM_OK;
}

dm_status dm_report_read_metrics(dm_report *r, dm_report_training *t, dm_error *err)
{
    char path[4096];
    dm_json_doc *doc = NULL;
    dm_status s = dm_report_path(r, path, sizeof path, t->metrics, err);

    if (s != DM_OK || !dm_file_exists(path)) /* a directory without its stages still has its table */
        return s;
    char *data = NULL;
    size_t size = 0;
    if ((s = dm_file_read(path, DM_JSON_BYTES, &data, &size, err)) == DM_OK)
        s = dm_json_parse_lines(&doc, data, size, path, err);
    for (size_t f = 0; f < DM_REPORT_MEASURES && s == DM_OK; f++) {
        dm_report_curve *c = &t->curve[f];
        const dm_json *root = dm_json_root(doc);
        c->held_out = f != DM_REPORT_MEASURE_LOSS && count(root, "eval", keys[f]) > 1;
        s = read_curve(r, root, c->held_out ? "eval" : "train", keys[f], c, err);
    }
    dm_json_close(&doc);
    free(data);
    return s;
}
