/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which control group hierarchies there are, and which of them knows about memory. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/host_check.h"
#include "util/format.h"
#include "util/procfs.h"
#include "util/procfs_read.h"

struct hierarchies {
	struct cgroup_mounts mounts;
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

static int find_hierarchies(struct hierarchies *found)
{
	char *text, *path;
	size_t len;
	int err;

	err = cgroup_mounts__read(&found->mounts);
	if (err)
		return err == -ENOMEM ? err : 0;
	if (!found->mounts.unified)
		return 0;
	path = format_text("%s/cgroup.controllers", found->mounts.unified);
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

	if (found->mounts.unified && found->mounts.v1_cnt)
		return host_check__add(check, fact, "hybrid: v2 at %s beside %zu v1 hierarch%s",
				       found->mounts.unified, found->mounts.v1_cnt,
				       found->mounts.v1_cnt == 1 ? "y" : "ies");
	if (found->mounts.unified)
		return host_check__add(check, fact, "v2 at %s", found->mounts.unified);
	if (found->mounts.v1_cnt)
		return host_check__add(check, fact, "v1 (%zu hierarchies)", found->mounts.v1_cnt);
	none.state = FACT_LIMITED;
	none.effect = "--cgroup and --group-by cgroup do not work";
	return host_check__add(check, none, "no cgroup file system is mounted here");
}

static int add_memory(struct host_check *check, const struct hierarchies *found)
{
	const struct host_fact fact = {.group = "cgroups", .name = "memory"};
	struct host_fact none = fact;

	if (found->mounts.memory)
		return host_check__add(check, fact, "v1 controller at %s", found->mounts.memory);
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
	if (!err && (found.mounts.unified || found.mounts.v1_cnt))
		err = add_memory(check, &found);
	cgroup_mounts__free(&found.mounts);
	return err;
}
