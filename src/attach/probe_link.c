/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "attach/probe_link.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* union bpf_attr.link_create as of 6.6, include/uapi/linux/bpf.h */
struct link_create_attr {
	__u32 prog_fd;
	__u32 target_fd;
	__u32 attach_type;
	__u32 flags;
	union {
		struct {
			__u64 path;
			__u64 offsets;
			__u64 ref_ctr_offsets;
			__u64 cookies;
			__u32 cnt;
			__u32 flags;
			__u32 pid;
		} uprobe_multi;
		struct {
			__u64 bpf_cookie;
		} perf_event;
	};
};

#define UPROBE_MULTI_RETURN 1

static int link_create(struct link_create_attr *attr)
{
	int fd = syscall(__NR_bpf, BPF_LINK_CREATE, attr, sizeof(*attr));

	return fd < 0 ? -errno : fd;
}

/* The kernel takes a path; this one leads to the very file, whatever its name is now and in which
 * mount namespace. */
static void fd_path(int fd, char path[static 40])
{
	snprintf(path, 40, "/proc/self/fd/%d", fd);
}

int probe_link__multi(int prog_fd, int file_fd, const struct probe_set *set, pid_t pid,
		      bool is_return, int attach_type)
{
	struct link_create_attr attr;
	char path[40];

	fd_path(file_fd, path);
	memset(&attr, 0, sizeof(attr));
	attr.prog_fd = prog_fd;
	attr.attach_type = attach_type;
	attr.uprobe_multi.path = (uintptr_t)path;
	attr.uprobe_multi.offsets = (uintptr_t)set->offsets;
	attr.uprobe_multi.cookies = (uintptr_t)set->cookies;
	attr.uprobe_multi.cnt = set->cnt;
	attr.uprobe_multi.flags = is_return ? UPROBE_MULTI_RETURN : 0;
	attr.uprobe_multi.pid = pid;
	return link_create(&attr);
}

static int read_number(const char *path, const char *format)
{
	FILE *file = fopen(path, "re");
	int value = -1;

	if (!file)
		return -errno;
	if (fscanf(file, format, &value) != 1)
		value = -EINVAL;
	fclose(file);
	return value;
}

int probe_link__perf(int prog_fd, int file_fd, uint64_t offset, uint64_t cookie, pid_t pid,
		     bool is_return)
{
	struct perf_event_attr event = {.size = sizeof(event)};
	struct link_create_attr attr;
	int type, retprobe_bit, event_fd, link_fd;
	char path[40];

	type = read_number("/sys/bus/event_source/devices/uprobe/type", "%d");
	retprobe_bit =
		read_number("/sys/bus/event_source/devices/uprobe/format/retprobe", "config:%d");
	if (type < 0 || retprobe_bit < 0)
		return -EOPNOTSUPP;
	fd_path(file_fd, path);
	event.type = type;
	event.config = is_return ? 1ULL << retprobe_bit : 0;
	event.config1 = (uintptr_t)path;
	event.config2 = offset;
	event_fd = syscall(__NR_perf_event_open, &event, pid ? pid : -1, pid ? -1 : 0, -1,
			   PERF_FLAG_FD_CLOEXEC);
	if (event_fd < 0)
		return -errno;
	memset(&attr, 0, sizeof(attr));
	attr.prog_fd = prog_fd;
	attr.target_fd = event_fd;
	attr.attach_type = BPF_PERF_EVENT;
	attr.perf_event.bpf_cookie = cookie;
	link_fd = link_create(&attr);
	if (link_fd >= 0 && ioctl(event_fd, PERF_EVENT_IOC_ENABLE, 0)) {
		int err = -errno;

		close(link_fd);
		link_fd = err;
	}
	close(event_fd); /* the link holds the event */
	return link_fd;
}

const char *link_mode__name(enum link_mode mode)
{
	static const char *const names[] = {"auto", "perf", "multi", "session"};

	return names[mode];
}
