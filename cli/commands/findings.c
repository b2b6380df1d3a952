#include "cli/commands/findings.h"

#include <stdio.h>

void cli_findings_open(cli_findings *f, bool json, const char *list)
{
    f->json = json;
    f->j = (dm_json_writer){.out = &f->text};
    if (!json)
        return;
    dm_json_open_object(&f->j, NULL);
    dm_json_open_array(&f->j, list);
}

void cli_findings_free(cli_findings *f)
{
    dm_text_free(&f->text);
}

void cli_findings_bad(cli_findings *f, int64_t step, const dm_op *op, const dm_node *node, const char *why)
{
    if (f->first.found)
        return;
    f->first.found = true;
    f->first.step = step;
    f->first.formula = op->formula;
    f->first.why = why;
    snprintf(f->first.name, sizeof f->first.name, "%s", node->name);
}

dm_status cli_findings_end(cli_findings *f, const char *title, const char *key, dm_error *err)
{
    if (f->json) {
        dm_json_put_string(&f->j, key, f->first.found ? f->first.name : NULL);
        dm_json_close_value(&f->j);
        if (f->text.failed)
            return dm_fail(err, DM_ERR_MEMORY, "no memory for the findings");
        puts(f->text.data);
    } else if (f->first.found) {
        printf("%s: step %lld, %s (%s)%s%s\n", title, (long long)f->first.step, f->first.name,
               dm_formula_name(f->first.formula), f->first.why ? ": " : "", f->first.why ? f->first.why : "");
    }
    return DM_OK;
}
