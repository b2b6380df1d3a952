/* What the operating system reports about this process and about time. */
#ifndef DM_CORE_SYSTEM_H
#define DM_CORE_SYSTEM_H

#include <stddef.h>

/* Resident set size of this process now (its peak, if the system does not report that), and its peak, in bytes; 0 if
 * the system does not report it. They allocate nothing. */
size_t dm_rss_now(void);
size_t dm_rss_peak(void);

/* Monotonic seconds. */
double dm_seconds(void);

#endif
