/* The only file that calls MPI (configure --with-mpi). Point-to-point messages alone: the order in which Allreduce adds
 * is nobody's promise. */
#include "cli/ranks.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "core/numbers/foreign.h"
#include "core/ranks.h"
#include "core/threads.h"

#if HAVE_MPI

#include <mpi.h>

_Static_assert(sizeof(MPI_Request) <= sizeof(uint64_t), "a request does not fit");

static dm_ranks ranks;

/* Both ends see the same number of bytes, so the same type. Floats: a count of bytes has 31 bits. */
static MPI_Datatype type_of(size_t bytes, int *count)
{
    *count = (int)(bytes % sizeof(float) ? bytes : bytes / sizeof(float));
    return bytes % sizeof(float) ? MPI_BYTE : MPI_FLOAT;
}

static void start(dm_rank_message *m, const MPI_Request *request, unsigned peer)
{
    *m = (dm_rank_message){.peer = peer};
    memcpy(m->room, request, sizeof *request);
    m->room[1] |= (uint64_t)1 << 63; /* something is under way */
}

static void send_message(dm_rank_message *m, unsigned to, dm_rank_tag tag, const void *data, size_t bytes)
{
    MPI_Request request;
    int count;
    const MPI_Datatype type = type_of(bytes, &count);

    MPI_Isend(data, count, type, (int)to, (int)tag, MPI_COMM_WORLD, &request);
    start(m, &request, to);
}

static void receive_message(dm_rank_message *m, unsigned from, dm_rank_tag tag, void *data, size_t bytes)
{
    MPI_Request request;
    int count;
    const MPI_Datatype type = type_of(bytes, &count);

    MPI_Irecv(data, count, type, (int)from, (int)tag, MPI_COMM_WORLD, &request);
    start(m, &request, from);
}

static bool is_done(dm_rank_message *m)
{
    MPI_Request request;
    int done = 0;

    if (m->room[1] == 0)
        return true;
    memcpy(&request, m->room, sizeof request);
    MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    if (done)
        m->room[0] = m->room[1] = 0;
    return done;
}

static bool has_arrived(dm_rank_tag tag, unsigned *from, size_t *bytes)
{
    MPI_Status status;
    int arrived = 0, count = 0;

    MPI_Iprobe(MPI_ANY_SOURCE, (int)tag, MPI_COMM_WORLD, &arrived, &status);
    if (!arrived)
        return false;
    MPI_Get_count(&status, MPI_BYTE, &count);
    *from = (unsigned)status.MPI_SOURCE;
    *bytes = (size_t)count;
    return true;
}

/* A process that was not started by mpirun stays alone: joining a world of one takes time and starts a daemon. */
static bool was_launched(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK", "PMI_RANK"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (getenv(names[i]))
            return true;
    return false;
}

/* Ranks of one machine that mpirun has not bound to processors of their own share them. */
static void share_processors(void)
{
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    char text[24];
    int here = 1;
    MPI_Comm machine;

    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine);
    MPI_Comm_size(machine, &here);
    MPI_Comm_free(&machine);
    if (here < 2 || (long)dm_cpu_count() * here <= online)
        return;
    snprintf(text, sizeof text, "%ld", online > here ? online / here : 1);
    setenv("DMPO_THREADS", text, 0); /* what the user sets counts */
}

dm_status cli_ranks_open(dm_error *err)
{
    const char *limit = getenv("DMPO_RANK_TIMEOUT");
    int provided, self, count;

    if (!was_launched())
        return DM_OK;
    /* With more ranks than cores Open MPI gives up the core whenever it looks for a message and finds none. Waiting
     * sleeps anyway (core/ranks.c), and a rank that looks between two steps of its work has to keep its core. */
    setenv("OMPI_MCA_mpi_yield_when_idle", "0", 0);
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS)
        return dm_fail(err, DM_ERR_UNSUPPORTED, "MPI does not start");
    MPI_Comm_rank(MPI_COMM_WORLD, &self);
    MPI_Comm_size(MPI_COMM_WORLD, &count);
    ranks = (dm_ranks){(unsigned)self, (unsigned)count, send_message, receive_message, is_done, has_arrived};
    dm_ranks_use(&ranks);
    if (limit) {
        char *end;
        const double seconds = strtod(limit, &end);
        if (*limit == '\0' || *end || !(seconds > 0))
            return dm_fail(err, DM_ERR_ARGUMENT, "DMPO_RANK_TIMEOUT '%s' is not a number of seconds above 0", limit);
        dm_ranks_limit(seconds);
    }
    if (self > 0) { /* rank 0 prints results */
        const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        if (null >= 0)
            dup2(null, STDOUT_FILENO);
    }
    share_processors();
    if (count > (int)DM_RANKS_MAX)
        return dm_fail(err, DM_ERR_ARGUMENT, "%d ranks are too many; at most %u work together", count, DM_RANKS_MAX);
    return DM_OK;
}

const char *cli_ranks_program(void)
{
    return DM_FOREIGN_MATH ? DM_FOREIGN_MATH : DM_COMPUTES; /* the latter is the Makefile's */
}

void cli_ranks_close(int status)
{
    if (ranks.count == 0)
        return;
    if (status && ranks.count > 1 && !dm_ranks_agreed_to_fail())
        MPI_Abort(MPI_COMM_WORLD, status);
    MPI_Finalize();
}

#else

dm_status cli_ranks_open(dm_error *err)
{
    const char *size = getenv("OMPI_COMM_WORLD_SIZE");

    if (!size)
        size = getenv("PMI_SIZE");
    return size && strcmp(size, "1") != 0
               ? dm_fail(err, DM_ERR_UNSUPPORTED,
                         "this build has no MPI, so each of the %s processes would do all of it; configure it with "
                         "--with-mpi",
                         size)
               : DM_OK;
}

const char *cli_ranks_program(void)
{
    return "";
}

void cli_ranks_close(int status)
{
    (void)status;
}

#endif
