/* Which characters Python's repr() writes as they are. */
#ifndef DM_IO_JINJA_PRINTABLE_H
#define DM_IO_JINJA_PRINTABLE_H

#include <stdbool.h>
#include <stdint.h>

/* str.isprintable() of one character: no control, format, surrogate, private or unassigned one, no space but ' '. */
bool jinja_is_printable(uint32_t code);

#endif
