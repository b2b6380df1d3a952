/* Filters of lists, for the table in filters.c. */
#ifndef DM_IO_JINJA_FILTERS_H
#define DM_IO_JINJA_FILTERS_H

#include "io/jinja/eval.h"

enum { JINJA_REJECT = 1, JINJA_BY_ATTRIBUTE = 2 };

bool jinja_run_dictsort(jinja_eval *e, jinja_call *c, jinja_value *out);
bool jinja_run_end(jinja_eval *e, jinja_call *c, jinja_value *out); /* first, last */
bool jinja_run_items(jinja_eval *e, jinja_call *c, jinja_value *out);
bool jinja_run_join(jinja_eval *e, jinja_call *c, jinja_value *out);
bool jinja_run_list(jinja_eval *e, jinja_call *c, jinja_value *out);
bool jinja_run_map(jinja_eval *e, jinja_call *c, jinja_value *out);
bool jinja_run_extreme(jinja_eval *e, jinja_call *c, jinja_value *out); /* min, max */
bool jinja_run_select(jinja_eval *e, jinja_call *c, jinja_value *out);
bool jinja_run_reverse(jinja_eval *e, jinja_call *c, jinja_value *out);
bool jinja_run_sort(jinja_eval *e, jinja_call *c, jinja_value *out);
bool jinja_run_sum(jinja_eval *e, jinja_call *c, jinja_value *out);
bool jinja_run_unique(jinja_eval *e, jinja_call *c, jinja_value *out);

/* (key, value), ... of a dict, as a list, view or generator. */
bool jinja_pairs(jinja_eval *e, const jinja_dict *d, jinja_type type, jinja_value *out);

#endif
