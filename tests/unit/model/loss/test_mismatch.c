/* kto's mismatched sequences: whose prompt is followed by whose turns, what is cut, what is refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files/file.h"
#include "model/loss/mismatch.h"
#include "tests/support/check.h"

static char path[256];

static int open_data(dm_dataset *data, const char *text)
{
    const dm_data_options options = {.need_pairs = true};
    dm_error err = {0};
    return CK_MSG(dm_file_write(path, text, strlen(text), &err) == DM_OK &&
                      dm_dataset_open(data, path, &options, &err) == DM_OK,
                  "%s", err.message);
}

/* want: the ids, then -1, then begins and ends of the turns, then -1. */
static void check_side(const dm_data_trajectory *t, const int *want, const char *what)
{
    size_t i = 0, actions = 0;

    for (; i < t->n && want[i] == t->ids[i]; i++)
        ;
    if (!CK_MSG(i == t->n && want[i] == -1, "%s: token %zu of %zu differs", what, i, t->n))
        return;
    want += i + 1;
    for (i = 0;
         i < t->n_turns && (size_t)want[2 * i] == t->turns[i].begin && (size_t)want[2 * i + 1] == t->turns[i].end; i++)
        actions += t->turns[i].end - t->turns[i].begin;
    CK_MSG(i == t->n_turns && want[2 * i] == -1 && actions == t->n_actions, "%s: turn %zu of %zu differs", what, i,
           t->n_turns);
}

#define END -1

static const char four[] =
    "{\"id\": \"a\", \"chosen\": {\"ids\": [1, 2, 10, 11, 3, 12, 4], \"turns\": [[2, 4], [5, 6]]},"
    " \"rejected\": {\"ids\": [1, 2, 13], \"turns\": [[2, 3]]}}\n"
    "{\"id\": \"b\", \"chosen\": {\"ids\": [1, 2, 20], \"turns\": [[2, 3]]},"
    " \"rejected\": {\"ids\": [1, 2, 21, 5, 22, 23], \"turns\": [[2, 3], [4, 6]]}}\n"
    "{\"id\": \"c\", \"chosen\": {\"ids\": [1, 2, 30, 6, 31], \"turns\": [[2, 3], [4, 5]]},"
    " \"rejected\": {\"ids\": [1, 2, 32], \"turns\": [[2, 3]]}}\n"
    "{\"id\": \"d\", \"chosen\": {\"ids\": [1, 7, 8, 40, 41], \"turns\": [[3, 5]]},"
    " \"rejected\": {\"ids\": [1, 7, 8, 42], \"turns\": [[3, 4]]}}\n";

/* a, b and c have one prompt: theirs go with d, d's with a. */
static void partners(void)
{
    static const int chosen[4][16] = {{1, 2, 40, 41, END, 2, 4, END},
                                      {1, 2, 40, 41, END, 2, 4, END},
                                      {1, 2, 40, 41, END, 2, 4, END},
                                      {1, 7, 8, 10, 11, 3, 12, 4, END, 3, 5, 6, 7, END}};
    static const int rejected[4][16] = {{1, 2, 42, END, 2, 3, END},
                                        {1, 2, 42, END, 2, 3, END},
                                        {1, 2, 42, END, 2, 3, END},
                                        {1, 7, 8, 13, END, 3, 4, END}};
    dm_dataset data = {0}, out = {0};
    dm_error err = {0};

    if (open_data(&data, four) &&
        CK_MSG(dm_mismatched_sequences(&out, &data, 4096, path, &err) == DM_OK, "%s", err.message)) {
        CK(out.n == 4 && out.pairs);
        for (size_t i = 0; i < out.n; i++) {
            CK(out.items[i].id == data.items[i].id);
            check_side(&out.items[i].chosen, chosen[i], "chosen");
            check_side(&out.items[i].rejected, rejected[i], "rejected");
        }
    }
    dm_dataset_close(&out);
    dm_dataset_close(&data);
}

/* At a turn's end, as every trajectory; with a limit too small for the first turn nothing is left. */
static void limits(void)
{
    static const int whole[] = {1, 7, 8, 10, 11, 3, 12, 4, END, 3, 5, 6, 7, END},
                     two[] = {1, 7, 8, 10, 11, 3, 12, END, 3, 5, 6, 7, END}, one[] = {1, 7, 8, 10, 11, END, 3, 5, END};
    static const struct {
        size_t limit;
        const int *want; /* NULL: empty */
    } cases[] = {{8, whole}, {7, two}, {6, one}, {5, one}, {4, NULL}};
    dm_dataset data = {0};

    if (open_data(&data, four))
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            dm_dataset out = {0};
            CK(dm_mismatched_sequences(&out, &data, cases[i].limit, path, NULL) == DM_OK);
            const dm_data_trajectory *t = &out.items[3].chosen;
            if (cases[i].want)
                check_side(t, cases[i].want, "cut");
            else
                CK(t->n == 0 && t->n_turns == 0 && t->n_actions == 0);
            dm_dataset_close(&out);
        }
    dm_dataset_close(&data);
}

static void refused(const char *text)
{
    dm_dataset data = {0}, out = {0};
    dm_error err = {0};

    if (open_data(&data, text))
        CK_MSG(dm_mismatched_sequences(&out, &data, 4096, path, &err) == DM_ERR_INPUT &&
                   strstr(err.message, "have one prompt") && strstr(err.message, path),
               "%s", err.message);
    CK(out.n == 0 && !out.memory);
    dm_dataset_close(&data);
}

int main(void)
{
    const char *base = getenv("TMPDIR");
    char *second;

    snprintf(path, sizeof path, "%s/dmpo-mismatch.XXXXXX", base && *base ? base : "/tmp");
    const int fd = mkstemp(path);
    if (!CK(fd >= 0))
        return ck_done("mismatch");
    close(fd);
    partners();
    limits();
    char text[sizeof four];
    memcpy(text, four, sizeof four);
    second = strchr(text, '\n') + 1;
    *strchr(second, '\n') = '\0';
    refused(text); /* two items with one prompt */
    second[-1] = '\0';
    refused(text); /* one item */
    remove(path);
    return ck_done("mismatch");
}
