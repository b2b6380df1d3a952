#include "core/files/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/files/file.h"
#include "core/files/list.h"
#include "core/files/lock.h"
#include "core/files/temporary.h"

#define PREFIX "dmpo-scratch-"
#define DIRECTORY (O_RDONLY | O_DIRECTORY | O_NOFOLLOW)

/* This user's, of a process that has ended. */
static bool is_dead(const char *path, const char *name)
{
    struct stat st;
    const long pid = strtol(name + sizeof PREFIX - 1, NULL, 10);
    return pid > 0 && kill((pid_t)pid, 0) != 0 && errno == ESRCH && lstat(path, &st) == 0 && S_ISDIR(st.st_mode) &&
           st.st_uid == geteuid();
}

/* What cannot be removed stays for another time. */
static void remove_dead(const char *in)
{
    dm_names names;
    dm_path path;
    int fd;

    if (dm_names_list(&names, in, NULL) == DM_OK)
        for (size_t i = 0; i < names.n; i++) {
            if (strncmp(names.name[i], PREFIX, sizeof PREFIX - 1) != 0 ||
                dm_path_in(&path, in, names.name[i], NULL) != DM_OK || !is_dead(path.text, names.name[i]) ||
                dm_lock_open(&fd, path.text, path.text, DIRECTORY, false, NULL) != DM_OK)
                continue;
            dm_dir_remove(path.text, NULL);
            close(fd);
        }
    dm_names_free(&names);
}

dm_status dm_scratch_open(dm_scratch *s, dm_error *err)
{
    const char *temporary = getenv("TMPDIR"), *in = temporary && *temporary ? temporary : "/tmp";
    dm_status status;
    sigset_t before;

    *s = (dm_scratch){.fd = -1};
    remove_dead(in);
    if ((status = dm_path_print(&s->path, err, "%s/" PREFIX "%ld-XXXXXX", in, (long)getpid())) == DM_OK) {
        dm_temporary_hold(&before);
        if (mkdtemp(s->path.text))
            dm_temporary_add(s->path.text);
        else
            status = dm_fail(err, DM_ERR_FILE, "%s: cannot make a directory there: %s", in, strerror(errno));
        dm_temporary_release(&before);
    }
    if (status != DM_OK) {
        s->path.text[0] = '\0';
        return status;
    }
    return dm_lock_open(&s->fd, s->path.text, s->path.text, DIRECTORY, false, err);
}

void dm_scratch_close(dm_scratch *s)
{
    if (!s->path.text[0])
        return;
    dm_dir_remove(s->path.text, NULL);
    dm_temporary_drop(s->path.text);
    if (s->fd >= 0)
        close(s->fd);
    *s = (dm_scratch){.fd = -1};
}
