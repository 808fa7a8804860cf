/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a call looks on a line of text: "handle  src/server.cc:123 (server)", and one of Python:
 * "Cache.store  app/cache.py:42". */
#ifndef LEAKSWEEP_REPORT_CALL_LINE_H
#define LEAKSWEEP_REPORT_CALL_LINE_H

#include "model/profile.h"
#include "report/screen.h"

/*
 * Writes a call in what is left of the line behind `used` columns. Where there is little room the
 * path gives way first, down to the file's own name, then the name of the function (C++ templates),
 * at last the module.
 * `with_offset`: a call without a line says how far in its function it is. Returns 0 or -ENOMEM.
 */
int screen__call(struct screen *screen, const struct profile *profile, const struct call_info *call,
		 size_t used, bool with_offset);

/* Writes the name of a call, or module and offset, for one frame of a folded line; a Python
 * function with its file and line. */
void call_put_folded(FILE *out, const struct profile *profile, const struct call_info *call);

/* Returns the owned name of a call, or its module and offset, for a key (a Python function with its
 * file and line); NULL = no memory. */
char *call_key(const struct profile *profile, const struct call_info *call);

#endif
