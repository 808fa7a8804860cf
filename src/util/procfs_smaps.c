/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/procfs_smaps.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/procfs_read.h"

#define FIRST_ROOM 16384
#define MAX_LINE (1 << 20) /* a path, every byte of it escaped, is far below that */

int smaps__open(pid_t pid, struct smaps *ret)
{
	int fd = procfs_open_pid(pid, "smaps");

	if (fd < 0)
		return fd;
	smaps__open_fd(fd, ret);
	return 0;
}

void smaps__open_fd(int fd, struct smaps *ret)
{
	*ret = (struct smaps){.fd = fd};
}

void smaps__close(struct smaps *smaps)
{
	if (smaps->fd >= 0)
		close(smaps->fd);
	free(smaps->text);
	free(smaps->map.path);
	*smaps = (struct smaps){.fd = -1};
}

/* Reads on behind [at, len), which is moved to the front. */
static int fill(struct smaps *smaps)
{
	ssize_t got;

	if (smaps->at) {
		memmove(smaps->text, smaps->text + smaps->at, smaps->len - smaps->at);
		smaps->len -= smaps->at;
		smaps->at = 0;
	}
	if (smaps->len == smaps->cap) {
		size_t cap = smaps->cap ? smaps->cap * 2 : FIRST_ROOM;
		char *text;

		if (smaps->cap >= MAX_LINE)
			return -EBADMSG;
		text = realloc(smaps->text, cap);
		if (!text)
			return -ENOMEM;
		smaps->text = text;
		smaps->cap = cap;
	}
	do {
		got = read(smaps->fd, smaps->text + smaps->len, smaps->cap - smaps->len);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	smaps->at_end = !got;
	smaps->len += (size_t)got;
	return 0;
}

/* Returns 1 and the next line without stepping over it, 0 behind the last one. */
static int peek_line(struct smaps *smaps, char **ret, size_t *ret_len)
{
	size_t seen = 0;
	int err;

	for (;;) {
		size_t rest = smaps->len - smaps->at;
		char *line = smaps->text ? smaps->text + smaps->at : NULL;
		char *end = rest > seen ? memchr(line + seen, '\n', rest - seen) : NULL;

		if (end) {
			*ret = line;
			*ret_len = (size_t)(end - line);
			return memchr(line, '\0', *ret_len) ? -EBADMSG : 1;
		}
		if (smaps->at_end)
			return rest ? -EBADMSG : 0;
		seen = rest;
		err = fill(smaps);
		if (err)
			return err;
	}
}

/* Returns whether a line begins a mapping: others begin with a capital letter. */
static bool is_head(const char *line)
{
	return isdigit((unsigned char)*line) || (*line >= 'a' && *line <= 'f');
}

/* "Rss:                 124 kB": fills *ret if the line is `name`'s. */
static int take_kib(const char *line, const char *name, uint64_t *ret, bool *ret_found)
{
	size_t len = strlen(name);
	unsigned long long kib;
	uint64_t bytes;
	char *end;

	if (strncmp(line, name, len) != 0)
		return 0;
	line += len + strspn(line + len, " ");
	if (!isdigit((unsigned char)*line))
		return -EBADMSG;
	errno = 0;
	kib = strtoull(line, &end, 10);
	if (errno || strcmp(end, " kB") != 0 || __builtin_mul_overflow(kib, 1024, &bytes))
		return -EBADMSG;
	*ret = bytes;
	if (ret_found)
		*ret_found = true;
	return 0;
}

/* "VmFlags: rd wr mr mw me ac nh sd " */
static bool has_flag(const char *line, const char *flag)
{
	static const char name[] = "VmFlags:";
	size_t len = strlen(flag);

	if (strncmp(line, name, sizeof(name) - 1) != 0)
		return false;
	for (line += sizeof(name) - 1; *line; line += strcspn(line, " ")) {
		line += strspn(line, " ");
		if (strcspn(line, " ") == len && !strncmp(line, flag, len))
			return true;
	}
	return false;
}

static int take_field(const char *line, struct smaps_area *area, bool *has_rss)
{
	int err = take_kib(line, "Rss:", &area->rss_bytes, has_rss);

	if (!err)
		err = take_kib(line, "Pss:", &area->pss_bytes, NULL);
	if (!err)
		err = take_kib(line, "Private_Dirty:", &area->private_dirty_bytes, NULL);
	if (!err)
		err = take_kib(line, "Anonymous:", &area->anon_bytes, NULL);
	if (!err)
		err = take_kib(line, "AnonHugePages:", &area->anon_huge_bytes, NULL);
	if (!err)
		err = take_kib(line, "Swap:", &area->swap_bytes, NULL);
	area->no_huge |= has_flag(line, "nh");
	return err;
}

static int take_head(struct smaps *smaps, char *line, size_t len)
{
	free(smaps->map.path);
	smaps->map = (struct proc_map){0};
	line[len] = '\0';
	smaps->at += len + 1;
	return is_head(line) ? proc_map__parse(line, len, &smaps->map) : -EBADMSG;
}

int smaps__next(struct smaps *smaps, struct smaps_area *ret)
{
	struct smaps_area area = {.map = &smaps->map, .pss_bytes = UINT64_MAX};
	bool has_rss = false;
	size_t len;
	char *line;
	int got, err;

	got = peek_line(smaps, &line, &len);
	if (got <= 0)
		return got;
	err = take_head(smaps, line, len);
	while (!err && (got = peek_line(smaps, &line, &len)) > 0 && !is_head(line)) {
		line[len] = '\0';
		smaps->at += len + 1;
		err = take_field(line, &area, &has_rss);
	}
	if (!err && got < 0)
		err = got;
	if (!err && (!has_rss || area.rss_bytes > smaps->map.end - smaps->map.start ||
		     area.anon_bytes > area.rss_bytes))
		err = -EBADMSG;
	if (err)
		return err;
	if (area.pss_bytes > area.rss_bytes)
		area.pss_bytes = area.rss_bytes;
	*ret = area;
	return 1;
}
