/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/privilege.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/procfs_read.h"

#define PARANOID "/proc/sys/kernel/perf_event_paranoid"
#define TRACEFS "/sys/kernel/tracing/events"
#define LINUX_HIGHEST 2 /* Documentation/admin-guide/sysctl/kernel.rst */

bool perf_wants_sys_admin(void)
{
	char *text = NULL;
	size_t len;
	bool wants;

	/* Who cannot know it keeps what he has. */
	if (procfs_read_path(PARANOID, &text, &len))
		return true;
	wants = atoi(text) > LINUX_HIGHEST;
	free(text);
	return wants;
}

bool tracefs_wants_sys_admin(void)
{
	return access(TRACEFS, R_OK | X_OK) != 0;
}

int capability__drop(int capability)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
	struct __user_cap_data_struct *set = &sets[CAP_TO_INDEX(capability)];

	if (syscall(SYS_capget, &header, sets))
		return -errno;
	set->effective &= ~CAP_TO_MASK(capability);
	set->permitted &= ~CAP_TO_MASK(capability);
	set->inheritable &= ~CAP_TO_MASK(capability);
	return syscall(SYS_capset, &header, sets) ? -errno : 0;
}
