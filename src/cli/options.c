/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/options.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/message.h"
#include "util/units.h"

static const struct option_spec *find_long(const struct option_spec *specs, size_t cnt,
					   const char *name, size_t len)
{
	for (size_t i = 0; i < cnt; i++)
		if (strlen(specs[i].name) == len && !strncmp(specs[i].name, name, len))
			return &specs[i];
	return NULL;
}

static const struct option_spec *find_short(const struct option_spec *specs, size_t cnt, char name)
{
	for (size_t i = 0; i < cnt; i++)
		if (specs[i].short_name == name)
			return &specs[i];
	return NULL;
}

static int parse_count(const char *text, uint64_t *ret)
{
	uint64_t count;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	count = strtoull(text, &end, 10);
	if (*end)
		return -EINVAL;
	if (errno)
		return -errno;
	*ret = count;
	return 0;
}

/* Turns the error of a parser into a sentence. */
static int check_value(const struct option_spec *spec, const char *value, int err, const char *what,
		       char **ret_message)
{
	if (err == -ERANGE)
		return fail(ret_message, -EINVAL, "--%s: %s is too big", spec->name, value);
	return err ? fail(ret_message, -EINVAL, "--%s: '%s' is not %s", spec->name, value, what)
		   : 0;
}

static int set_value(const struct option_spec *spec, void *target, const char *value,
		     char **ret_message)
{
	void *slot = (char *)target + spec->offset;

	switch (spec->type) {
	case OPT_FLAG:
		*(bool *)slot = true;
		return 0;
	case OPT_STRING:
		*(const char **)slot = value;
		return 0;
	case OPT_CALL:
		return spec->call(target, value, ret_message);
	case OPT_SIZE:
		return check_value(spec, value, parse_size(value, slot),
				   "a size: write 4096, 64K or 1.5MiB", ret_message);
	case OPT_DURATION:
		return check_value(spec, value, parse_duration(value, slot),
				   "a duration: write 500ms, 10s or 2m", ret_message);
	case OPT_COUNT:
		return check_value(spec, value, parse_count(value, slot), "a number", ret_message);
	}
	return -EINVAL;
}

/* One argument that begins with '-'. *index moves on when the value is the next argument. */
static int parse_one(const struct option_spec *specs, size_t cnt, void *target, int argc,
		     char **argv, int *index, char **ret_message)
{
	const char *arg = argv[*index], *value = NULL;
	const struct option_spec *spec;

	if (arg[1] == '-') {
		size_t len = strcspn(arg + 2, "=");

		spec = find_long(specs, cnt, arg + 2, len);
		if (arg[2 + len])
			value = arg + 3 + len;
	} else {
		spec = find_short(specs, cnt, arg[1]);
		if (arg[2])
			value = arg + 2;
	}
	if (!spec)
		return fail(ret_message, -EINVAL, "unknown option %s: see `leaksweep %s --help`",
			    arg, argv[0]);
	if (spec->type == OPT_FLAG) {
		if (value)
			return fail(ret_message, -EINVAL, "--%s takes no value", spec->name);
		return set_value(spec, target, NULL, ret_message);
	}
	if (!value) {
		/* A value "--" can only be a slip (or --name=--): it separates the command. */
		if (*index + 1 >= argc || !strcmp(argv[*index + 1], "--"))
			return fail(ret_message, -EINVAL, "--%s needs a value: %s", spec->name,
				    spec->value);
		value = argv[++*index];
	}
	return set_value(spec, target, value, ret_message);
}

int options__parse(const struct option_spec *specs, size_t cnt, void *target, int argc, char **argv,
		   int *ret_rest, char **ret_message)
{
	int i, err;

	for (i = 1; i < argc; i++) {
		if (argv[i][0] != '-' || !argv[i][1])
			break;
		if (!strcmp(argv[i], "--")) {
			i++;
			break;
		}
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return 1;
		err = parse_one(specs, cnt, target, argc, argv, &i, ret_message);
		if (err)
			return err;
	}
	*ret_rest = i;
	return 0;
}

int options__set(const struct option_spec *specs, size_t cnt, void *target, const char *name,
		 const char *value, char **ret_message)
{
	const struct option_spec *spec = find_long(specs, cnt, name, strlen(name));

	if (!spec)
		return fail(ret_message, -EINVAL, "there is no option '%s'", name);
	if (spec->type != OPT_FLAG)
		return value ? set_value(spec, target, value, ret_message)
			     : fail(ret_message, -EINVAL, "--%s needs a value: %s", spec->name,
				    spec->value);
	if (value && strcmp(value, "yes") && strcmp(value, "no"))
		return fail(ret_message, -EINVAL, "--%s: '%s' is neither yes nor no", spec->name,
			    value);
	*(bool *)((char *)target + spec->offset) = !value || !strcmp(value, "yes");
	return 0;
}

void options__print(const struct option_spec *specs, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++) {
		const struct option_spec *spec = &specs[i];
		int width;

		width = spec->short_name ? printf("  -%c, --%s", spec->short_name, spec->name)
					 : printf("      --%s", spec->name);
		if (spec->value)
			width += printf(" %s", spec->value);
		if (width > 30)
			width = -printf("\n") + 1;
		printf("%*s%s\n", 32 - width, "", spec->help);
	}
}
