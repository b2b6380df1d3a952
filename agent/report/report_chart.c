/* Charts as SVG: panels of lines, rows of dots with intervals. Coordinates come from plain arithmetic: the same bytes
 * on every machine. */
#include <math.h> /* NAN and isnan only */
#include <stdio.h>
#include <string.h>

#include "agent/report/report_chart.h"
#include "agent/report/report_escape.h"

#define WIDTH 960.0
#define LARGEST 1e9 /* beyond, a value is drawn there */
#define LABELS 24
#define BOLD 1.08 /* wider by */

/* ---- text ---- */

/* Width of a text in pixels at 12 px in a wide typeface, roughly: for room, not for typesetting. */
static double text_width(const char *text)
{
    double w = 0;

    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if ((*p & 0xC0) == 0x80)
            continue;
        if (strchr("ijl|.,:;'!()[]tfr-I ", *p))
            w += 4.8;
        else if (strchr("mwMW@%", *p))
            w += 11.6;
        else if (*p >= 0xE2)
            w += 11;
        else
            w += *p >= 'A' && *p <= 'Z' ? 8.9 : 7.6;
    }
    return w;
}

/* The text, or as much of it as there is room for and "...". */
static void fit(dm_text *t, const char *text, double room)
{
    char cut[256];
    size_t n = strlen(text);

    if (n >= sizeof cut - 4 || text_width(text) > room) {
        n = n < sizeof cut - 4 ? n : sizeof cut - 4;
        do {
            while (n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80)
                n--;
            snprintf(cut, sizeof cut, "%.*s\xE2\x80\xA6", (int)n, text);
        } while (text_width(cut) > room && n-- > 1);
        dm_report_escape(t, cut, strlen(cut));
        dm_text_print(t, "<title>");
        dm_report_escape(t, text, strlen(text));
        dm_text_print(t, "</title>");
        return;
    }
    dm_report_escape(t, text, n);
}

static void label(dm_text *t, double x, double y, const char *class, const char *anchor, const char *text, double room)
{
    dm_text_print(t, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\" text-anchor=\"%s\">", x, y, class, anchor);
    fit(t, text, room);
    dm_text_print(t, "</text>\n");
}

static void line(dm_text *t, double x1, double y1, double x2, double y2, const char *class)
{
    dm_text_print(t, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n", x1, y1, x2, y2, class);
}

/* ---- scales ---- */

typedef struct scale {
    double low, high; /* of the values */
    double from, to;  /* of the picture */
} scale;

static double clamp(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

static double place(const scale *s, double x)
{
    return s->from + (clamp(x, s->low, s->high) - s->low) / (s->high - s->low) * (s->to - s->from);
}

/* 1, 2 or 5 times a power of ten, about a quarter of the range; how many decimals tell its multiples apart. */
static double round_step(double range, int parts, int *decimals)
{
    const double wanted = range / parts;
    double power = 1;
    int digits = 0;

    while (power > wanted && digits < 12) {
        power /= 10;
        digits++;
    }
    while (power * 10 <= wanted)
        power *= 10;
    const double step = wanted <= power       ? power
                        : wanted <= 2 * power ? 2 * power
                        : wanted <= 5 * power ? 5 * power
                                              : 10 * power;
    *decimals = step >= 10 * power && digits > 0 ? digits - 1 : digits;
    return step;
}

static void widen(double *low, double *high, double x)
{
    if (isnan(x))
        return;
    x = clamp(x, -LARGEST, LARGEST);
    *low = isnan(*low) || x < *low ? x : *low;
    *high = isnan(*high) || x > *high ? x : *high;
}

/* Never empty. */
static void settle(double *low, double *high)
{
    const double size = *high > 0 ? *high : -*low;

    if (isnan(*low))
        *low = *high = 0;
    if (*high - *low <= size * 1e-6) {
        *low -= size > 0 ? size * 0.1 : 0.5;
        *high += size > 0 ? size * 0.1 : 0.5;
    }
}

/* ---- a panel ---- */

typedef struct frame {
    dm_text *t;
    const dm_report_panel *p;
    scale x, y;
} frame;

static void ranges(frame *f)
{
    double x0 = NAN, x1 = NAN, y0 = NAN, y1 = NAN;

    for (size_t i = 0; i < f->p->n; i++) {
        const dm_report_series *s = &f->p->series[i];
        for (size_t k = 0; k < s->n; k++) {
            widen(&x0, &x1, s->x[k]);
            widen(&y0, &y1, s->y[k]);
            widen(&y0, &y1, s->low ? s->low[k] : NAN);
            widen(&y0, &y1, s->high ? s->high[k] : NAN);
        }
    }
    for (size_t i = 0; i < f->p->x_ticks; i++)
        widen(&x0, &x1, f->p->x_tick[i].at);
    if (f->p->from_zero)
        widen(&x0, &x1, 0);
    settle(&x0, &x1);
    settle(&y0, &y1);
    if (f->p->y_high > f->p->y_low) {
        y0 = f->p->y_low;
        y1 = f->p->y_high;
    } else {
        const double air = (y1 - y0) * 0.06;
        y0 -= air;
        y1 += air;
    }
    f->x.low = x0;
    f->x.high = x1;
    f->y.low = y0;
    f->y.high = y1;
}

static void axes(frame *f)
{
    const scale *x = &f->x, *y = &f->y;
    int decimals;
    char text[48];
    double step = round_step(y->high - y->low, 4, &decimals);

    for (double k = (double)(int64_t)(y->low / step) - 1; k * step <= y->high + step * 1e-9; k++) {
        if (k * step < y->low - step * 1e-9)
            continue;
        snprintf(text, sizeof text, "%.*f", decimals, k * step + 0.0);
        line(f->t, x->from, place(y, k * step), x->to, place(y, k * step), "g");
        label(f->t, x->from - 6, place(y, k * step) + 4, "m", "end", text, 100);
    }
    line(f->t, x->from, y->from, x->to, y->from, "a");
    double end = -1e9; /* of the text before */
    for (size_t i = 0; i < f->p->x_ticks; i++) {
        const double at = place(x, f->p->x_tick[i].at), half = text_width(f->p->x_tick[i].text) / 2;
        line(f->t, at, y->from, at, y->from + 4, "a");
        if (at - half < end)
            continue;
        label(f->t, at, y->from + 17, "m", "middle", f->p->x_tick[i].text, 100);
        end = at + half + 4;
    }
    step = round_step(x->high - x->low, 3, &decimals);
    for (double k = (double)(int64_t)(x->low / step); !f->p->x_tick && k * step <= x->high + step * 1e-9; k++) {
        if (k * step < x->low - step * 1e-9)
            continue;
        snprintf(text, sizeof text, "%.*f", decimals, k * step + 0.0);
        line(f->t, place(x, k * step), y->from, place(x, k * step), y->from + 4, "a");
        label(f->t, place(x, k * step), y->from + 17, "m", "middle", text, 100);
    }
    if (f->p->x_title)
        label(f->t, (x->from + x->to) / 2, y->from + 33, "m", "middle", f->p->x_title, x->to - x->from + 40);
}

/* The interval as an area, over each run of points that have one. */
static void band(frame *f, const dm_report_series *s)
{
    for (size_t i = 0, end; i < s->n; i = end + 1) {
        for (end = i; end < s->n && !isnan(s->low[end]) && !isnan(s->high[end]); end++)
            ;
        if (end < i + 2)
            continue;
        dm_text_print(f->t, "<path class=\"b%d\" d=\"", s->colour);
        for (size_t k = i; k < end; k++)
            dm_text_print(f->t, "%s%.1f,%.1f", k > i ? " " : "M", place(&f->x, s->x[k]), place(&f->y, s->high[k]));
        for (size_t k = end; k-- > i;)
            dm_text_print(f->t, " %.1f,%.1f", place(&f->x, s->x[k]), place(&f->y, s->low[k]));
        dm_text_print(f->t, "Z\"/>\n");
    }
}

static void curve(frame *f, const dm_report_series *s)
{
    static const char *const styles[] = {"", " dash", " faint", ""};
    bool any = false;

    if (s->style != DM_REPORT_LINE_NONE && s->n > 1) {
        dm_text_print(f->t, "<path class=\"s%d%s\" d=\"", s->colour, styles[s->style]);
        for (size_t k = 0; k < s->n; k++) {
            if (!isnan(s->y[k]))
                dm_text_print(f->t, "%s%.1f,%.1f", any ? " " : "M", place(&f->x, s->x[k]), place(&f->y, s->y[k]));
            any |= !isnan(s->y[k]);
        }
        dm_text_print(f->t, any ? "\"/>\n" : "M0,0\"/>\n");
    }
    for (size_t k = 0; s->marks && k < s->n; k++) {
        if (isnan(s->y[k]))
            continue;
        if (s->style == DM_REPORT_LINE_NONE && s->low && !isnan(s->low[k])) {
            char class[16];
            snprintf(class, sizeof class, "s%d", s->colour);
            line(f->t, place(&f->x, s->x[k]), place(&f->y, s->low[k]), place(&f->x, s->x[k]), place(&f->y, s->high[k]),
                 class);
        }
        dm_text_print(f->t, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" class=\"f%d\"/>\n", place(&f->x, s->x[k]),
                      place(&f->y, s->y[k]), s->colour);
    }
}

/* Names at the ends of lines, moved apart where they would lie on each other. */
static void end_labels(frame *f, double room)
{
    struct {
        const dm_report_series *s;
        double y;
    } at[LABELS];
    size_t n = 0;

    for (size_t i = 0; i < f->p->n && n < LABELS; i++) {
        const dm_report_series *s = &f->p->series[i];
        if (!s->label || s->n == 0 || isnan(s->y[s->n - 1]))
            continue;
        size_t k = n++;
        const double y = place(&f->y, s->y[s->n - 1]) + 4;
        for (; k > 0 && at[k - 1].y > y; k--)
            at[k] = at[k - 1];
        at[k].s = s;
        at[k].y = y;
    }
    for (size_t k = 1; k < n; k++)
        at[k].y = at[k].y < at[k - 1].y + 13 ? at[k - 1].y + 13 : at[k].y;
    for (size_t k = n; k-- > 0;) {
        const double limit = k + 1 < n ? at[k + 1].y - 13 : f->y.from + 4;
        at[k].y = at[k].y > limit ? limit : at[k].y;
    }
    for (size_t k = 0; k < n; k++) {
        char class[16];
        snprintf(class, sizeof class, "t%d", at[k].s->colour);
        label(f->t, f->x.to + 7, at[k].y, class, "start", at[k].s->label, room);
    }
}

void dm_report_chart_panels(dm_report_chart *c, const dm_report_panel *panel, size_t n, size_t across)
{
    double widest = 0;

    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < panel[i].n; k++) {
            const char *name = panel[i].series[k].label;
            const double w = name ? text_width(name) * BOLD : 0;
            widest = w > widest ? w : widest;
        }
    const double width = WIDTH / (double)across, height = across > 2 ? 172 : 250;
    const double room = widest > width * 0.3 ? width * 0.3 : widest;
    const double top = 40, bottom = 42;
    c->width = width * (double)(n < across ? n : across);
    c->height = height * (double)((n + across - 1) / across) + 4;
    for (size_t i = 0; i < n; i++) {
        const double left = width * (double)(i % across), y = height * (double)(i / across);
        frame f = {.t = &c->body, .p = &panel[i]};
        ranges(&f);
        f.x.from = left + 42;
        f.x.to = left + width - (room > 0 ? room + 12 : 16);
        f.y.from = y + height - bottom;
        f.y.to = y + top;
        dm_text_print(f.t, "<g>\n");
        label(f.t, left + 4, y + 14, "h", "start", panel[i].title, width - 12);
        if (panel[i].subtitle)
            label(f.t, left + 4, y + 29, "m", "start", panel[i].subtitle, width - 12);
        axes(&f);
        for (size_t k = 0; k < panel[i].n; k++)
            if (panel[i].series[k].low && panel[i].series[k].style != DM_REPORT_LINE_NONE)
                band(&f, &panel[i].series[k]);
        for (size_t k = 0; k < panel[i].n; k++)
            curve(&f, &panel[i].series[k]);
        end_labels(&f, room + 4);
        dm_text_print(f.t, "</g>\n");
    }
}

/* ---- dots ---- */

#define ROW 24.0
#define GROUP 26.0

static void dot(dm_text *t, const scale *x, double y, const dm_report_dot *d, size_t column, double value_at)
{
    const dm_estimate *e = &d->at[column].value;
    char text[32], class[16];

    if (!d->at[column].present)
        return;
    snprintf(class, sizeof class, "i%d", d->colour);
    if (!isnan(e->half))
        line(t, place(x, e->mean - e->half), y, place(x, e->mean + e->half), y, class);
    dm_text_print(t, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"5\" class=\"f%d\"/>\n", place(x, e->mean), y, d->colour);
    snprintf(text, sizeof text, "%.3f", e->mean);
    label(t, value_at, y + 4, "n", "end", text, 100);
}

void dm_report_chart_dots(dm_report_chart *c, const dm_report_dot *d, size_t n, const char *const *column,
                          size_t columns, const double *through, const char *line_label)
{
    double names = 0, height = 48, low = 0, high = 1;
    dm_text *t = &c->body;

    for (size_t i = 0; i < n; i++) {
        const double w = text_width(d[i].label) + 18;
        names = w > names ? w : names;
        height += ROW + (d[i].group ? GROUP : 0);
        for (size_t k = 0; k < columns; k++)
            if (d[i].at[k].present)
                widen(&low, &high, d[i].at[k].value.mean);
    }
    names = names > 230 ? 230 : names;
    c->width = WIDTH;
    c->height = height + 30;
    const double each = (WIDTH - names) / (double)columns;
    for (size_t k = 0; k < columns; k++) {
        const scale x = {low, high, names + each * (double)k + 14, names + each * (double)(k + 1) - 62};
        int decimals;
        const double step = round_step(high - low, 5, &decimals), value_at = x.to + 54;
        label(t, x.from, 14, "h", "start", column[k], each - 20);
        for (double v = (double)(int64_t)(low / step); v * step <= high + step * 1e-9; v++) {
            char text[32];
            snprintf(text, sizeof text, "%.*f", decimals, v * step);
            line(t, place(&x, v * step), 40, place(&x, v * step), height + 4, "g");
            label(t, place(&x, v * step), height + 20, "m", "middle", text, 100);
        }
        if (!isnan(through[k])) {
            line(t, place(&x, through[k]), 36, place(&x, through[k]), height + 4, "r");
            label(t, place(&x, through[k]), 32, "m", "middle", line_label, 120);
        }
        double y = 44;
        for (size_t i = 0; i < n; i++) {
            y += d[i].group ? GROUP : 0;
            dot(t, &x, y + ROW / 2, &d[i], k, value_at);
            y += ROW;
        }
    }
    double y = 44;
    for (size_t i = 0; i < n; i++) {
        if (d[i].group) {
            label(t, 4, y + GROUP - 6, "h", "start", d[i].group, names);
            y += GROUP;
        }
        label(t, 12, y + ROW / 2 + 4, "l", "start", d[i].label, names - 14);
        y += ROW;
    }
}

/* ---- the element ---- */

void dm_report_chart_write(const dm_report_chart *c, dm_text *out, size_t id, bool file)
{
    dm_text_print(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart%s\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" "
        "height=\"%.0f\" role=\"img\" aria-labelledby=\"t%zu d%zu\">\n",
        c->width > WIDTH / 2 ? " wide" : "", c->width, c->height, c->width, c->height, id, id);
    dm_text_print(out, "<title id=\"t%zu\">", id);
    dm_report_escape(out, c->title.data, c->title.size);
    dm_text_print(out, "</title>\n<desc id=\"d%zu\">", id);
    dm_report_escape(out, c->words.data ? c->words.data : "", c->words.size);
    dm_text_print(out, "</desc>\n");
    if (file) {
        dm_text_print(out, "<style>\n");
        dm_report_chart_style(out, true);
        dm_text_print(out, "</style>\n<rect width=\"100%%\" height=\"100%%\" class=\"bg\"/>\n");
    }
    dm_text_add(out, c->body.data ? c->body.data : "", c->body.size);
    dm_text_print(out, "</svg>\n");
}

void dm_report_chart_free(dm_report_chart *c)
{
    dm_text_free(&c->title);
    dm_text_free(&c->words);
    dm_text_free(&c->caption);
    dm_text_free(&c->body);
}
