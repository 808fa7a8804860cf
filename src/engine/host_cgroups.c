/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which control group hierarchies there are, and which of them knows about memory. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/host_check.h"
#include "util/format.h"
#include "util/procfs_read.h"

struct hierarchies {
	char *v2, *v1_memory; /* owned mount points, NULL = not mounted */
	size_t v1_cnt;
	bool v2_memory; /* the v2 hierarchy has the memory controller */
};

/* Whether `word` is one of the words of `text` that a character of `separators` parts. */
static bool has_word(const char *text, const char *separators, const char *word)
{
	size_t len;

	for (text += strspn(text, separators); *text; text += strspn(text, separators)) {
		len = strcspn(text, separators);
		if (len == strlen(word) && !memcmp(text, word, len))
			return true;
		text += len;
	}
	return false;
}

/*
 * One line of mountinfo (proc(5)): ID PARENT DEV ROOT MOUNTPOINT OPTIONS [TAG]... - TYPE SOURCE
 * SUPEROPTIONS
 */
static int parse_mount(char *line, struct hierarchies *found)
{
	char *tail = strstr(line, " - "), *save = NULL, *mount = line, *type, *options,
	     **slot = NULL;

	if (!tail)
		return 0;
	*tail = '\0';
	type = strtok_r(tail + 3, " ", &save);
	strtok_r(NULL, " ", &save);
	options = strtok_r(NULL, " ", &save);
	if (!type || !options)
		return 0;
	if (!strcmp(type, "cgroup2")) {
		slot = &found->v2;
	} else if (!strcmp(type, "cgroup")) {
		found->v1_cnt++;
		slot = has_word(options, ",", "memory") ? &found->v1_memory : NULL;
	}
	if (!slot || *slot)
		return 0;
	for (int i = 0; i < 4 && mount; i++) {
		mount = strchr(mount, ' ');
		mount += mount ? 1 : 0;
	}
	if (!mount)
		return 0;
	*slot = procfs_unescape(mount, strcspn(mount, " "), " \t\n\\");
	return *slot ? 0 : -ENOMEM;
}

static int find_hierarchies(struct hierarchies *found)
{
	char *text, *path, *save = NULL;
	size_t len;
	int err;

	if (procfs_read_path("/proc/self/mountinfo", &text, &len))
		return 0;
	err = 0;
	for (char *line = strtok_r(text, "\n", &save); line && !err;
	     line = strtok_r(NULL, "\n", &save))
		err = parse_mount(line, found);
	free(text);
	if (err || !found->v2)
		return err;
	path = format_text("%s/cgroup.controllers", found->v2);
	if (!path)
		return -ENOMEM;
	if (!procfs_read_path(path, &text, &len)) {
		found->v2_memory = has_word(text, " \n", "memory");
		free(text);
	}
	free(path);
	return 0;
}

static int add_version(struct host_check *check, const struct hierarchies *found)
{
	const struct host_fact fact = {.group = "cgroups", .name = "version"};
	struct host_fact none = fact;

	if (found->v2 && found->v1_cnt)
		return host_check__add(check, fact, "hybrid: v2 at %s beside %zu v1 hierarch%s",
				       found->v2, found->v1_cnt, found->v1_cnt == 1 ? "y" : "ies");
	if (found->v2)
		return host_check__add(check, fact, "v2 at %s", found->v2);
	if (found->v1_cnt)
		return host_check__add(check, fact, "v1 (%zu hierarchies)", found->v1_cnt);
	none.state = FACT_LIMITED;
	none.effect = "--cgroup and --group-by cgroup do not work";
	return host_check__add(check, none, "no cgroup file system is mounted here");
}

static int add_memory(struct host_check *check, const struct hierarchies *found)
{
	const struct host_fact fact = {.group = "cgroups", .name = "memory"};
	struct host_fact none = fact;

	if (found->v1_memory)
		return host_check__add(check, fact, "v1 controller at %s", found->v1_memory);
	if (found->v2_memory)
		return host_check__add(check, fact, "v2 controller");
	none.state = FACT_LIMITED;
	none.effect = "groups are shown as they are, none of them limits memory";
	return host_check__add(check, none, "no memory controller");
}

int host_check__add_cgroups(struct host_check *check)
{
	struct hierarchies found = {0};
	int err;

	err = find_hierarchies(&found);
	if (!err)
		err = add_version(check, &found);
	if (!err && (found.v2 || found.v1_cnt))
		err = add_memory(check, &found);
	free(found.v2);
	free(found.v1_memory);
	return err;
}
