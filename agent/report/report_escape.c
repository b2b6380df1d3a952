#include "agent/report/report_escape.h"

#include <string.h>

/* No page may hold these, not even escaped: pictures of them stand for them. */
size_t dm_report_control(dm_text *out, const unsigned char *p, size_t left)
{
    if (*p < 0x20 && *p != '\t' && *p != '\n') {
        const char picture[3] = {(char)0xE2, (char)0x90, (char)(0x80 + *p)};
        dm_text_add(out, picture, 3);
        return 1;
    }
    if (*p == 0x7F) {
        dm_text_add(out, "\xE2\x90\xA1", 3);
        return 1;
    }
    if (left > 1 && *p == 0xC2 && p[1] < 0xA0) { /* C1 */
        dm_text_add(out, "\xEF\xBF\xBD", 3);
        return 2;
    }
    if (left > 2 && *p == 0xEF && p[1] == 0xBF && p[2] >= 0xBE) { /* U+FFFE, U+FFFF */
        dm_text_add(out, "\xEF\xBF\xBD", 3);
        return 3;
    }
    return 0;
}

void dm_report_escape(dm_text *out, const char *text, size_t size)
{
    for (size_t i = 0; i < size;) {
        const size_t control = dm_report_control(out, (const unsigned char *)text + i, size - i);
        const char *entity = text[i] == '&'    ? "&amp;"
                             : text[i] == '<'  ? "&lt;"
                             : text[i] == '>'  ? "&gt;"
                             : text[i] == '"'  ? "&quot;"
                             : text[i] == '\'' ? "&#39;"
                                               : NULL;
        if (control)
            i += control;
        else if (entity)
            dm_text_add(out, entity, strlen(entity));
        else
            dm_text_add(out, text + i, 1);
        i += !control;
    }
}

void dm_report_escape_markdown(dm_text *out, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        const size_t control = dm_report_control(out, p, strlen((const char *)p));
        if (control) {
            p += control;
            continue;
        }
        if (*p == '<' || *p == '>' || *p == '&')
            dm_text_print(out, "%s", *p == '<' ? "&lt;" : *p == '>' ? "&gt;" : "&amp;");
        else if (*p == '\n' || *p == '\t')
            dm_text_add(out, " ", 1);
        else
            dm_text_print(out, strchr("\\`*_[]|#~$", *p) ? "\\%c" : "%c", *p);
        p++;
    }
}

void dm_report_escape_csv(dm_text *out, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        dm_text_add(out, text, strlen(text));
        return;
    }
    dm_text_add(out, "\"", 1);
    for (; *text; text++)
        dm_text_add(out, *text == '"' ? "\"\"" : text, *text == '"' ? 2 : 1);
    dm_text_add(out, "\"", 1);
}
