/* What filters and methods of text have in common. Each gives its result in *out, or false with the error set. */
#ifndef DM_IO_JINJA_TEXT_FUNCTIONS_H
#define DM_IO_JINJA_TEXT_FUNCTIONS_H

#include "io/jinja/eval.h"

typedef enum jinja_case { JINJA_UPPER, JINJA_LOWER, JINJA_TITLE, JINJA_CAPITALIZE, JINJA_FILTER_TITLE } jinja_case;

/* set NULL: white space; sides: 1 left, 2 right, 3 both. */
bool jinja_strip(jinja_eval *e, const jinja_string *s, const jinja_string *set, int sides, jinja_value *out);
/* ASCII's letters; text with others is refused. */
bool jinja_change_case(jinja_eval *e, const jinja_string *s, jinja_case how, jinja_value *out);
/* At most `count` of them, all where it is below 0. */
bool jinja_replace(jinja_eval *e, const jinja_string *s, const jinja_string *old, const jinja_string *fresh,
                   int64_t count, jinja_value *out);
/* str() of each item, with `between` between them; strict: the items must be text. */
bool jinja_join(jinja_eval *e, const jinja_list *items, const jinja_string *between, bool strict, jinja_value *out);
/* a.b.0 of `v`, its parts from a filter's argument "attribute" (a string or an integer). */
bool jinja_attribute(jinja_eval *e, jinja_value v, jinja_value attribute, jinja_value *out);

#endif
