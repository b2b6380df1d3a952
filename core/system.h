/* What the operating system says of this process and of time. */
#ifndef DM_CORE_SYSTEM_H
#define DM_CORE_SYSTEM_H

#include <stddef.h>

/* Resident set size of this process now, and its peak, in bytes; 0 where the system does not say. They allocate
 * nothing. */
size_t dm_rss_now(void);
size_t dm_rss_peak(void);

/* Monotonic seconds. */
double dm_seconds(void);

#endif
