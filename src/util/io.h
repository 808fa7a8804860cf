/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LEAKSWEEP_UTIL_IO_H
#define LEAKSWEEP_UTIL_IO_H

#include <stddef.h>

/*
 * Writes buf[0..len) to a blocking descriptor, whatever signals and short writes come between
 * (write(2)). Returns 0 or a negative errno, -EIO also where a write makes no progress; then an
 * unknown part is written. A pipe or socket without a reader is -EPIPE only if SIGPIPE is ignored.
 */
int write_all(int fd, const void *buf, size_t len);

#endif
