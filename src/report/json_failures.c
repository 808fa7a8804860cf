/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "report/failures.h"

#include <errno.h>

#include "report/json_fields.h"
#include "report/render.h"

static int put_failure(const struct profile *profile, const struct snap_failure *failure,
		       struct call_texts *texts, FILE *out)
{
	const struct snap_proc *proc = &profile->snap->procs.items[failure->proc];
	char time[RFC3339_MAX];
	struct fields fields;
	int err;

	fields__new(&fields);
	add_text(&fields, "kind", failure_name(failure->kind));
	add_int(&fields, "pid", proc->pid);
	add_uint(&fields, "start_ns", proc->start_ns);
	add_text(&fields, "comm", proc->comm);
	add_text(&fields, "time", format_rfc3339(failure->time_ns, true, time));
	if (failure->bytes)
		add_uint(&fields, "bytes", failure->bytes);
	else
		add_null(&fields, "bytes");
	add_uint(&fields, "count", failure->cnt);
	add_known_text(&fields, "limit", *failure->limit ? failure->limit : NULL);
	err = put_fields(&fields, false, out);
	return err ? err : json_put_calls(profile, failure->stack, texts, out);
}

int json_put_failures(const struct profile *profile, FILE *out)
{
	const struct snapshot *snap = profile->snap;
	const char *separator = "\n";
	struct call_texts texts;
	int err;

	if (!snap->failures.cnt)
		return 0;
	err = call_texts__init(&texts, profile);
	fputs(",\n\"failures\":[", out);
	for (size_t i = 0; i < snap->failures.cnt && !err; i++) {
		if (snap->failures.items[i].proc >= snap->procs.cnt)
			continue;
		fputs(separator, out);
		separator = ",\n";
		err = put_failure(profile, &snap->failures.items[i], &texts, out);
	}
	fputc(']', out);
	call_texts__free(&texts);
	return err;
}
