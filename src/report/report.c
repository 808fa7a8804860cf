/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "report/report.h"

#include <string.h>

static const struct {
	const char *name;
	report_fn render;
} formats[] = {
	{"table", report_table},
	{"tree", report_tree},
	{"json", report_json},
	{"folded", report_folded},
	{"lines", report_lines},
};

report_fn report__by_name(const char *name)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (!strcmp(formats[i].name, name))
			return formats[i].render;
	return NULL;
}

const char *report__names(void)
{
	return REPORT_NAMES;
}
