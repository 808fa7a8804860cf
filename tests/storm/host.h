/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the drivers of a busy host share: programs that are distinct to everybody who looks at them,
 * cgroups, and a sequence of numbers that a seed decides. Everything ends the driver on failure:
 * its totals would be wrong.
 */
#ifndef LEAKSWEEP_TESTS_STORM_HOST_H
#define LEAKSWEEP_TESTS_STORM_HOST_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Prints the reason and errno to stderr and exits with 3. */
void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Returns an owned string. */
char *text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Reads a whole number from `low` to `high`, or dies naming `what`. */
uint64_t read_number(const char *what, const char *value, uint64_t low, uint64_t high);

/* Returns the owned path of a file that lies beside this program. */
char *beside_us(const char *name);

/*
 * Makes `cnt` copies of an ELF file, DIR/NAME-0 and so on: each has an inode and a build-id of its
 * own. Returns owned paths, NULL at the end.
 */
char **make_copies(const char *from, const char *dir, const char *name, size_t cnt);
void free_copies(char **copies);

/*
 * Makes an empty cgroup called `name` in cgroup v2 or v1's memory hierarchy. Returns its owned
 * path.
 */
char *cgroup__make(const char *name);

/* Makes an empty cgroup inside another one. Returns its owned path. */
char *cgroup__make_inside(const char *parent, const char *name);

/* Moves the calling process there. */
void cgroup__enter(const char *path);

/* Removes a cgroup whose processes have ended; the kernel may need a moment to see that. */
void cgroup__remove(const char *path);

/* Returns the next number of a sequence (splitmix64). */
uint64_t next_random(uint64_t *state);

uint64_t now_ns(void);

#endif
