/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * User, capabilities, user namespace. What they really allow is tried elsewhere: this tells why a
 * trial fails.
 */
#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/host_check.h"

/* capabilities(7); the effects are those of this tool. */
static const struct {
	int cap;
	const char *name, *purpose;
	bool needed;	    /* nothing can be traced without it, unless with CAP_SYS_ADMIN */
	const char *effect; /* of its lack */
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

/*
 * In a user namespace of its own a process may hold every capability and still not be allowed
 * anything here; in a PID namespace of its own it knows processes by other numbers than the kernel
 * side does. The inode numbers are those of the namespaces that the kernel starts with
 * (include/linux/proc_ns.h).
 */
static const struct {
	const char *name, *path;
	ino_t initial_ino;
	enum fact_state state; /* when it is another */
	const char *found, *effect;
} namespaces[] = {
	{"user namespace", "/proc/self/ns/user", 0xeffffffd, FACT_LIMITED,
	 "not the host's: capabilities count for little outside of it",
	 "run it outside of the container, or in a privileged one"},
	{"pid namespace", "/proc/self/ns/pid", 0xeffffffc, FACT_MISSING,
	 "not the host's: processes have other numbers here than in the kernel",
	 "run it outside of the container, or in one that shares the host's PID namespace"},
};

static int add_namespaces(struct host_check *check)
{
	struct stat st;
	int err = 0;

	for (size_t i = 0; i < sizeof(namespaces) / sizeof(namespaces[0]) && !err; i++) {
		const struct host_fact fact = {
			.group = "privileges",
			.name = namespaces[i].name,
			.state = namespaces[i].state,
			.effect = namespaces[i].effect,
		};

		if (!stat(namespaces[i].path, &st) && st.st_ino != namespaces[i].initial_ino)
			err = host_check__add(check, fact, "%s", namespaces[i].found);
	}
	return err;
}

int host_check__add_rights(struct host_check *check, bool *ret_may_bpf)
{
	uint64_t held = effective_caps();
	bool is_admin = held >> CAP_SYS_ADMIN & 1;
	int err;

	*ret_may_bpf = true;
	err = add_user(check);
	if (!err)
		err = add_namespaces(check);
	for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]) && !err; i++) {
		struct host_fact fact = {.group = "privileges", .name = caps[i].name};
		bool has = held >> caps[i].cap & 1;

		if (has) {
			err = host_check__add(check, fact, "%s", caps[i].purpose);
		} else if (caps[i].needed && is_admin) {
			err = host_check__add(check, fact,
					      "not held; CAP_SYS_ADMIN stands in for it");
		} else if (caps[i].cap == CAP_SYS_RESOURCE) {
			err = host_check__add(check, fact,
					      "not held; limits stay as they are, see below");
		} else {
			*ret_may_bpf &= !caps[i].needed;
			fact.state = caps[i].needed ? FACT_MISSING : FACT_LIMITED;
			fact.effect = caps[i].effect;
			err = host_check__add(check, fact, "not held");
		}
	}
	return err;
}
