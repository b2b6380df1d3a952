/* --plan-reward: a plan, a run's first turn, is worth what its runs earn on all of their tasks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/pairs/pairs.h"
#include "core/files/file.h"
#include "tests/support/check.h"

static void add_run(dm_text *t, int64_t task, int64_t sample, const char *plan, double reward)
{
    dm_episode_turn turn[2] = {{.action = plan, .observation = "Observation: well"},
                               {.action = "Action: go on", .observation = "Observation: end", .score = reward}};
    char id[64], prompt[64];
    dm_episode e = {.id = id,
                    .env = "none",
                    .task = task,
                    .sample = sample,
                    .policy = "model",
                    .temperature = 1,
                    .reward = reward,
                    .done = 1,
                    .end = "done",
                    .turn = turn,
                    .turns = 2};

    snprintf(id, sizeof id, "none/train/%lld/0/%lld", (long long)task, (long long)sample);
    snprintf(prompt, sizeof prompt, "Task %lld", (long long)task);
    e.prompt[0] = "Rules";
    e.prompt[1] = "OK";
    e.prompt[2] = prompt;
    dm_episode_write(t, &e);
}

/* Pairs of the file among each other. */
static bool make(dm_pairs *p, const char *path, int plan_reward)
{
    dm_pairs_options o;
    dm_error err = {.message = ""};

    dm_pairs_defaults(&o);
    o.explored = (dm_pairs_files){&path, 1};
    o.among = 1;
    o.plan_reward = plan_reward;
    return CK_MSG(dm_pairs_make(p, &o, &err) == DM_OK, "%s", err.message);
}

int main(void)
{
    char path[] = "/tmp/dmpo-test-plan.XXXXXX";
    dm_text t = {0};
    dm_pairs p;
    dm_error err;
    const int fd = mkstemp(path);

    if (fd < 0)
        return 1;
    add_run(&t, 0, 0, "Plan: look first", 1);
    add_run(&t, 0, 1, "Plan: guess", 0.25);
    add_run(&t, 1, 0, "Plan: look first", 0);
    add_run(&t, 1, 1, "Plan: guess", 0.25);
    CK(!t.failed && dm_file_write(path, t.data, t.size, &err) == DM_OK);

    if (make(&p, path, 0) && CK(p.n == 2)) { /* by their own rewards the second task goes to the guess */
        CK(strcmp(p.pair[0].chosen.turn[0].action, "Plan: look first") == 0 && p.pair[0].chosen.score == 1);
        CK(strcmp(p.pair[1].chosen.turn[0].action, "Plan: guess") == 0 && p.pair[1].rejected.score == 0);
        dm_pairs_close(&p);
    }
    if (make(&p, path, 1) && CK(p.n == 2)) { /* looking first earns (1 + 0) / 2, the guess 1/4 */
        for (size_t i = 0; i < 2; i++) {
            CK(strcmp(p.pair[i].chosen.turn[0].action, "Plan: look first") == 0);
            CK(p.pair[i].chosen.score == 0.5 && p.pair[i].rejected.score == 0.25);
            CK(strstr(p.pair[i].id, i ? "none/train/1" : "none/train/0") != NULL);
        }
        dm_pairs_close(&p);
    }
    dm_text_free(&t);
    remove(path);
    return ck_done("pairs_plan");
}
