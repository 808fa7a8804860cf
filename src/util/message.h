/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An error with its sentence. */
#ifndef LEAKSWEEP_UTIL_MESSAGE_H
#define LEAKSWEEP_UTIL_MESSAGE_H

/* Sets *ret_message to an owned, formatted sentence (NULL when out of memory) and returns `err`. */
int fail(char **ret_message, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
