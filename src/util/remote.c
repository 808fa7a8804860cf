/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/remote.h"

#include <errno.h>
#include <sys/uio.h>

#define PARTS_A_CALL 256 /* below IOV_MAX; the kernel copies longer lists to the heap anyway */

int remote_read(pid_t pid, uint64_t addr, void *buf, size_t len)
{
	struct iovec local = {.iov_base = buf, .iov_len = len}, remote;
	ssize_t got;

	if (addr > UINTPTR_MAX - len)
		return -EFAULT;
	while (local.iov_len) {
		remote = (struct iovec){
			.iov_base = (void *)(uintptr_t)addr,
			.iov_len = local.iov_len,
		};
		got = process_vm_readv(pid, &local, 1, &remote, 1, 0);
		if (got < 0)
			return -errno;
		if (!got)
			return -EFAULT;
		local.iov_base = (uint8_t *)local.iov_base + got;
		local.iov_len -= (size_t)got;
		addr += (uint64_t)got;
	}
	return 0;
}

/* Reads parts[0 ... cnt) with one call; sets `err` of the first *ret_done of them. */
static int read_some(pid_t pid, struct remote_part *parts, size_t cnt, size_t *ret_done)
{
	struct iovec local[PARTS_A_CALL], remote[PARTS_A_CALL];
	size_t rest, i;
	ssize_t got;

	for (i = 0; i < cnt; i++) {
		local[i] = (struct iovec){.iov_base = parts[i].buf, .iov_len = parts[i].len};
		remote[i] = (struct iovec){
			.iov_base = (void *)(uintptr_t)parts[i].addr,
			.iov_len = parts[i].len,
		};
	}
	got = process_vm_readv(pid, local, cnt, remote, cnt, 0);
	if (got < 0 && errno != EFAULT)
		return -errno;
	rest = got < 0 ? 0 : (size_t)got;
	for (i = 0; i < cnt && parts[i].len <= rest; i++) {
		rest -= parts[i].len;
		parts[i].err = 0;
	}
	/* It ends early at what cannot be read, or at a limit of the kernel's: a second look tells.
	 */
	if (i < cnt) {
		parts[i].err = remote_read(pid, parts[i].addr, parts[i].buf, parts[i].len);
		if (parts[i].err && parts[i].err != -EFAULT)
			return parts[i].err;
		i++;
	}
	*ret_done = i;
	return 0;
}

int remote_read_parts(pid_t pid, struct remote_part *parts, size_t cnt)
{
	size_t done;
	int err;

	while (cnt) {
		err = read_some(pid, parts, cnt < PARTS_A_CALL ? cnt : PARTS_A_CALL, &done);
		if (err)
			return err;
		parts += done;
		cnt -= done;
	}
	return 0;
}
