/* Texts of files in HTML, Markdown and CSV: always text, never markup. */
#ifndef DM_AGENT_REPORT_REPORT_ESCAPE_H
#define DM_AGENT_REPORT_REPORT_ESCAPE_H

#include "core/text.h"

void dm_report_escape(dm_text *out, const char *text, size_t size); /* XML and HTML: elements and attributes */
void dm_report_escape_markdown(dm_text *out, const char *text);
void dm_report_escape_csv(dm_text *out, const char *text); /* quoted where RFC 4180 asks for it */

/* Adds a picture of the control character at p. Returns how many bytes that has; 0: it is no control character, and
 * nothing is added. */
size_t dm_report_control(dm_text *out, const unsigned char *p, size_t left);

#endif
