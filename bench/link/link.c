/* link: joins network namespaces by links of one rate and delay, for bench/ranks.sh, on kernels without netem.
 *
 *     link BITS_A_SECOND MICROSECONDS MTU NAMESPACE...        a rate of 0: no limit
 *
 * Namespace i (from 1) gets the device eth0, which the caller gives the address A.B.C.i. A packet leaves when its
 * sender's link is free, takes its bits' time there, and arrives after the delay when its receiver's link is free, too,
 * as behind a switch. Nothing is dropped here: a device is read when its link is free, so what waits is in its queue.
 * Runs until it is killed, before all other processes where that is allowed. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define PORTS 64
#define SLOTS 512
#define CREDIT 300000 /* ns: what a link that was served late may catch up */

typedef struct packet {
    int64_t at; /* when it arrives */
    size_t size;
    unsigned char *data;
} packet;

typedef struct port {
    int fd;
    int64_t sends, takes; /* when its link is free, in each direction */
    packet slot[SLOTS];   /* on their way to it, in order */
    size_t head, n;
} port;

static port ports[PORTS];
static size_t n_ports, mtu;
static int64_t delay;
static double rate;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "link: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void open_port(port *p, const char *name)
{
    struct ifreq device = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    char path[256];

    snprintf(path, sizeof path, "/run/netns/%s", name);
    const int space = open(path, O_RDONLY | O_CLOEXEC);
    if (space < 0 || setns(space, CLONE_NEWNET) != 0)
        die(path);
    close(space);
    memcpy(device.ifr_name, "eth0", 5);
    if ((p->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)) < 0 || ioctl(p->fd, TUNSETIFF, &device) != 0)
        die("/dev/net/tun");
    for (size_t i = 0; i < SLOTS; i++)
        if (!(p->slot[i].data = malloc(mtu)))
            die("memory");
}

/* Takes a packet from a port whose link is free. */
static bool take(port *from)
{
    static unsigned char data[65536];
    const ssize_t size = read(from->fd, data, sizeof data);

    if (size <= 0)
        return false;
    const size_t to = size >= 20 && data[0] >> 4 == 4 ? data[19] : 0;
    if (to < 1 || to > n_ports || (size_t)size > mtu)
        return true; /* not of this network */
    const int64_t t = now(), takes = rate > 0 ? (int64_t)((double)size * 8e9 / rate) : 0;
    port *p = &ports[to - 1];
    packet *x = &p->slot[(p->head + p->n++) % SLOTS];
    from->sends = later(from->sends, t - CREDIT) + takes;
    p->takes = later(later(from->sends, t) + delay, p->takes + takes);
    x->at = p->takes;
    x->size = (size_t)size;
    memcpy(x->data, data, x->size);
    return true;
}

static void deliver(port *p, int64_t t)
{
    for (; p->n && p->slot[p->head].at <= t; p->n--, p->head = (p->head + 1) % SLOTS) {
        const packet *x = &p->slot[p->head];
        if (write(p->fd, x->data, x->size) < 0 && errno == EIO)
            continue; /* the device is down */
    }
}

/* How long nothing is to be done, in ns, if no packet comes; marks the ports to be watched. */
static int64_t idle(struct pollfd *watch, int64_t t, bool full)
{
    int64_t next = t + 1000000000;

    for (size_t i = 0; i < n_ports; i++) {
        const port *p = &ports[i];
        watch[i] = (struct pollfd){.fd = full || p->sends > t ? -1 : p->fd, .events = POLLIN};
        if (p->sends > t && p->sends < next)
            next = p->sends;
        if (p->n && p->slot[p->head].at < next)
            next = p->slot[p->head].at;
    }
    return later(next - t, 0);
}

int main(int argc, char **argv)
{
    struct pollfd watch[PORTS];

    if (argc < 5 || argc > 4 + PORTS) {
        fprintf(stderr, "usage: link BITS_A_SECOND MICROSECONDS MTU NAMESPACE...\n");
        return 2;
    }
    rate = atof(argv[1]);
    delay = atoll(argv[2]) * 1000;
    mtu = (size_t)atoi(argv[3]);
    for (n_ports = 0; n_ports < (size_t)argc - 4; n_ports++)
        open_port(&ports[n_ports], argv[4 + n_ports]);
    sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 10});
    puts("ready");
    fflush(stdout);
    for (;;) {
        bool busy = false, full = false;
        int64_t t = now();
        for (size_t i = 0; i < n_ports; i++) {
            deliver(&ports[i], t);
            full = full || ports[i].n + n_ports > SLOTS;
        }
        for (size_t i = 0; i < n_ports && !full; i++)
            busy = (ports[i].sends <= t && take(&ports[i])) || busy;
        if (busy)
            continue;
        const int64_t wait = idle(watch, t = now(), full);
        const struct timespec limit = {wait / 1000000000, wait % 1000000000};
        ppoll(watch, n_ports, &limit, NULL);
    }
}
