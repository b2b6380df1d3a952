/* Groups whose rewards are all equal teach nothing: others are played in their place (DAPO's dynamic sampling). */
#include <stdlib.h>
#include <string.h>

#include "agent/online/online.h"
#include "agent/rollout/episode.h"
#include "core/files/file.h"

#define EPISODES_MAX ((size_t)1 << 30)

/* Rewards that say something of the policy. */
static bool differs(const dm_episode *e, size_t n, double *reward)
{
    size_t counted = 0;

    for (size_t i = 0; i < n; i++)
        if (strcmp(e[i].end, dm_episode_end_names[DM_EPISODE_END_ENVIRONMENT]) != 0)
            reward[counted++] = e[i].reward;
    return !dm_policy_equal(reward, counted);
}

/* The end of the line at p. */
static const char *after_line(const char *p, const char *end)
{
    const char *line = memchr(p, '\n', (size_t)(end - p));
    return line ? line + 1 : end;
}

dm_status dm_online_keep(const char *path, size_t samples, size_t most, dm_text *kept, size_t *groups, dm_error *err)
{
    char *data = NULL;
    size_t size = 0;
    dm_episodes e = {0};
    double *reward = malloc(samples * sizeof *reward);
    dm_status s = reward ? dm_file_read(path, EPISODES_MAX, &data, &size, err)
                         : dm_fail(err, DM_ERR_MEMORY, "no memory for a group of episodes");

    if (s == DM_OK)
        s = dm_episodes_read(&e, &path, 1, err);
    const char *p = data;
    for (size_t i = 0; s == DM_OK && i + samples <= e.n && *groups < most; i += samples) {
        const char *begin = p;
        for (size_t k = 0; k < samples; k++)
            p = after_line(p, data + size);
        if (!differs(&e.episode[i], samples, reward))
            continue;
        dm_text_add(kept, begin, (size_t)(p - begin));
        ++*groups;
    }
    if (s == DM_OK && kept->failed)
        s = dm_fail(err, DM_ERR_MEMORY, "no memory for the episodes of a round");
    dm_episodes_close(&e);
    free(data);
    free(reward);
    return s;
}
