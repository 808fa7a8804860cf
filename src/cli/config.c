/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/message.h"
#include "util/regular_file.h"

#define BLANKS " \t\r\v\f"

/* ---- the file ---- */

/* What the file tells is done as root. */
static int check_owner(int fd, const char *path, char **ret_message)
{
	struct stat st;
	int err;

	err = regular_file__stat(fd, &st);
	if (err)
		return fail(ret_message, err, "cannot read %s: %s", path, strerror(-err));
	if (st.st_uid || st.st_mode & (S_IWGRP | S_IWOTH))
		return fail(ret_message, -EPERM,
			    "%s is not read, as others than root may write it: chown root it, and "
			    "chmod go-w",
			    path);
	return 0;
}

/* Reads into a buffer of MAX_CONFIG_BYTES and two more. */
static int read_text(int fd, const char *path, char *text, char **ret_message)
{
	size_t len = 0;
	ssize_t got;

	while (len <= MAX_CONFIG_BYTES) {
		got = read(fd, text + len, MAX_CONFIG_BYTES + 1 - len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail(ret_message, -errno, "cannot read %s: %s", path,
				    strerror(errno));
		if (!got)
			break;
		len += (size_t)got;
	}
	if (len > MAX_CONFIG_BYTES)
		return fail(ret_message, -EFBIG, "%s is longer than %d KiB", path,
			    MAX_CONFIG_BYTES >> 10);
	if (memchr(text, '\0', len))
		return fail(ret_message, -EINVAL, "%s is no text: it contains a zero byte", path);
	text[len] = '\0';
	return 0;
}

int config__read(const char *path, char **ret_text, char **ret_message)
{
	char *text = malloc(MAX_CONFIG_BYTES + 2);
	int fd, err;

	if (!text)
		return -ENOMEM;
	fd = regular_file__open(path);
	if (fd < 0) {
		free(text);
		return fail(ret_message, fd, "cannot read %s: %s", path,
			    fd == -ENXIO ? "it is no regular file" : strerror(-fd));
	}
	err = check_owner(fd, path, ret_message);
	if (!err)
		err = read_text(fd, path, text, ret_message);
	close(fd);
	if (err)
		free(text);
	else
		*ret_text = text;
	return err;
}

/* ---- lines ---- */

static void cut_comment(char *line)
{
	for (char *at = line; (at = strchr(at, '#')); at++)
		if (at == line || strchr(BLANKS, at[-1])) {
			*at = '\0';
			return;
		}
}

static void cut_end(char *line)
{
	size_t len = strlen(line);

	while (len && strchr(BLANKS, line[len - 1]))
		line[--len] = '\0';
}

char *config__line(char **at, unsigned int *line_nr)
{
	while (*at && **at) {
		char *line = *at, *end = strchr(line, '\n');

		if (end)
			*end = '\0';
		*at = end ? end + 1 : line + strlen(line);
		++*line_nr;
		cut_comment(line);
		line += strspn(line, BLANKS);
		cut_end(line);
		if (*line)
			return line;
	}
	return NULL;
}

/* Cuts the name off. Returns the value, NULL = there is none. */
static char *cut_value(char *line)
{
	char *at = line + strcspn(line, BLANKS "="), *value = at + strspn(at, BLANKS);

	if (*value == '=')
		value += 1 + strspn(value + 1, BLANKS);
	*at = '\0';
	return *value ? value : NULL;
}

int config__set(const struct option_spec *specs, size_t cnt, void *target, const char *path,
		char *text, char **ret_message)
{
	unsigned int line_nr = 0;
	char *line, *value, *why = NULL;
	int err;

	while ((line = config__line(&text, &line_nr))) {
		value = cut_value(line);
		err = options__set(specs, cnt, target, line, value, &why);
		if (!err)
			continue;
		if (why)
			fail(ret_message, err, "%s:%u: %s", path, line_nr, why);
		free(why);
		return err;
	}
	return 0;
}
