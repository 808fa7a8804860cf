/* SPDX-License-Identifier: GPL-2.0-or-later */
/* User, capabilities, user namespace. What they really allow is tried elsewhere: this tells why a trial fails. */
#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/host_check.h"
#include "util/procfs_read.h"

/* capabilities(7); the effects are those of this tool. */
static const struct {
	int cap;
	const char *name, *purpose;
	bool needed;		/* nothing can be traced without it, unless with CAP_SYS_ADMIN */
	const char *effect;	/* of its lack */
} caps[] = {
	{CAP_BPF, "CAP_BPF", "loads programs into the kernel", true, "nothing can be traced"},
	{CAP_PERFMON, "CAP_PERFMON", "lets programs be probes", true, "nothing can be traced"},
	{CAP_SYS_ADMIN, "CAP_SYS_ADMIN", "opens deleted files and tracefs", false,
	 "deleted and replaced libraries are not probed; tracefs must be mounted by somebody else"},
	{CAP_SYS_PTRACE, "CAP_SYS_PTRACE", "looks into other users' processes", false,
	 "only processes of the same user can be traced"},
	{CAP_SYS_RESOURCE, "CAP_SYS_RESOURCE", "raises hard limits", false, NULL},
};

static uint64_t effective_caps(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	if (syscall(SYS_capget, &header, data))
		return 0;
	return data[0].effective | (uint64_t)data[1].effective << 32;
}

static int add_user(struct host_check *check)
{
	struct host_fact fact = {.group = "privileges", .name = "user"};

	if (!geteuid())
		return host_check__add(check, fact, "root");
	fact.state = FACT_LIMITED;
	fact.effect = "run it as root, for instance with sudo";
	return host_check__add(check, fact, "not root but user %u", (unsigned int)geteuid());
}

/* In a namespace of its own a process may hold every capability and still not be allowed anything here. */
static int add_namespace(struct host_check *check)
{
	const struct host_fact fact = {
		.group = "privileges",
		.name = "user namespace",
		.state = FACT_LIMITED,
		.effect = "run it outside of the container, or in a privileged one",
	};
	unsigned long inside, outside, cnt;
	bool is_initial;
	char *text;
	size_t len;

	if (procfs_read_path("/proc/self/uid_map", &text, &len))
		return 0;
	is_initial = sscanf(text, "%lu %lu %lu", &inside, &outside, &cnt) == 3 && !inside && !outside &&
		     cnt == UINT32_MAX;
	free(text);
	if (is_initial)
		return 0;
	return host_check__add(check, fact, "not the host's: capabilities count for little outside of it");
}

int host_check__add_rights(struct host_check *check, bool *ret_may_bpf)
{
	uint64_t held = effective_caps();
	bool is_admin = held >> CAP_SYS_ADMIN & 1;
	int err;

	*ret_may_bpf = true;
	err = add_user(check);
	if (!err)
		err = add_namespace(check);
	for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]) && !err; i++) {
		struct host_fact fact = {.group = "privileges", .name = caps[i].name};
		bool has = held >> caps[i].cap & 1;

		if (has) {
			err = host_check__add(check, fact, "%s", caps[i].purpose);
		} else if (caps[i].needed && is_admin) {
			err = host_check__add(check, fact, "not held; CAP_SYS_ADMIN stands in for it");
		} else if (caps[i].cap == CAP_SYS_RESOURCE) {
			err = host_check__add(check, fact, "not held; limits stay as they are, see below");
		} else {
			*ret_may_bpf &= !caps[i].needed;
			fact.state = caps[i].needed ? FACT_MISSING : FACT_LIMITED;
			fact.effect = caps[i].effect;
			err = host_check__add(check, fact, "not held");
		}
	}
	return err;
}
