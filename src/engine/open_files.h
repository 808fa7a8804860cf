/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files of code are held open to be named at the end (collect/modules.h). On a host where always
 * new ones are started that would be too many, and the disk space of deleted ones would not come
 * back: those that no running process maps any more are closed then, the ones seen first before
 * others.
 */
#ifndef LEAKSWEEP_ENGINE_OPEN_FILES_H
#define LEAKSWEEP_ENGINE_OPEN_FILES_H

#include "engine/session.h"

/* Closes all that no running process maps, for probes that are put in place anew each time. Returns
 * 0 or -ENOMEM. */
int open_files__close_unmapped(struct session *session);

/* Returns 0, -ENOMEM or another negative errno. */
int open_files__trim(struct session *session);

#endif
