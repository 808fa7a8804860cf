/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/host_trial.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attach/attacher.h"
#include "collect/map_reader.h"
#include "discover/elf_allocs.h"
#include "engine/unwinder.h"
#include "include/stats.h"
#include "util/clock.h"
#include "util/procfs.h"

#define TABLES_BYTES (64ULL << 20)
#define PAIR_CNT 2000
#define ROUND_CNT 5 /* the best of these is the cost */
#define BLOCK_BYTES 100

/* ---- the child ------------------------------------------------------------------------------- */

/* Makes PAIR_CNT * ROUND_CNT pairs. Returns the nanoseconds of the quickest PAIR_CNT. */
static uint64_t make_pairs(void)
{
	uint64_t best_ns = UINT64_MAX, begin_ns, spent_ns;

	for (int round = 0; round < ROUND_CNT; round++) {
		begin_ns = clock_ns(CLOCK_MONOTONIC);
		for (int i = 0; i < PAIR_CNT; i++) {
			void *volatile block = malloc(BLOCK_BYTES);

			free(block);
		}
		spent_ns = clock_ns(CLOCK_MONOTONIC) - begin_ns;
		best_ns = spent_ns < best_ns ? spent_ns : best_ns;
	}
	return best_ns;
}

/* Says how long the pairs take now, and, when asked, how long they take then. */
static void be_child(int sock)
{
	uint64_t spent_ns;
	char go;

	for (int pass = 0; pass < 2; pass++) {
		if (pass && read(sock, &go, 1) != 1)
			break;
		spent_ns = make_pairs();
		if (write(sock, &spent_ns, sizeof(spent_ns)) != sizeof(spent_ns))
			break;
	}
	_exit(0);
}

static int start_child(pid_t *ret_pid, int *ret_sock)
{
	int socks[2], err;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks))
		return -errno;
	pid = fork();
	if (!pid) {
		close(socks[0]);
		be_child(socks[1]);
	}
	err = -errno;
	close(socks[1]);
	if (pid < 0) {
		close(socks[0]);
		return err;
	}
	*ret_pid = pid;
	*ret_sock = socks[0];
	return 0;
}

static int read_time(int sock, double *ret_ns)
{
	uint64_t spent_ns;
	ssize_t len = read(sock, &spent_ns, sizeof(spent_ns));

	if (len != sizeof(spent_ns))
		return len < 0 ? -errno : -ECHILD;
	*ret_ns = (double)spent_ns / PAIR_CNT;
	return 0;
}

/* ---- its probes ------------------------------------------------------------------------------ */

/* Opens the file that the child's malloc is in. */
static int open_malloc_file(void)
{
	struct proc_maps maps = {0};
	const struct proc_map *map;
	int fd;

	fd = proc_maps__read(getpid(), &maps);
	if (fd)
		return fd;
	map = proc_maps__find(&maps, (uintptr_t)malloc);
	fd = map ? proc_map__open(getpid(), map) : -ENOENT;
	proc_maps__free(&maps);
	return fd;
}

/* So that its stacks are walked as anybody's. */
static int load_tables(struct attacher *attacher, pid_t pid, uint32_t space_id)
{
	const struct unwinder_opts opts = {.memory_bytes = TABLES_BYTES};
	struct unwinder *unwinder = NULL;
	struct space_table table = {0};
	struct space_info *space;
	int err;

	err = unwinder__new(&opts, attacher, &table, &unwinder);
	if (err)
		return err;
	space = space_table__add(&table, space_id, pid, 0);
	err = space ? space_info__refresh(&table, space) : -ENOMEM;
	if (!err)
		err = unwinder__cover(unwinder, space);
	unwinder__free(unwinder); /* the tables stay with the attacher */
	space_table__free(&table);
	return err;
}

static int probe_child(struct attacher *attacher, pid_t pid)
{
	struct elf_allocs allocs = {0};
	struct attach_outcome outcome;
	uint32_t space;
	int fd, err;

	fd = open_malloc_file();
	if (fd < 0)
		return fd;
	err = elf_allocs__read(fd, NULL, &allocs);
	if (!err)
		err = attacher__attach(attacher, fd, &allocs, pid, &outcome);
	if (!err)
		err = attacher__add_proc(attacher, pid, &space);
	if (!err)
		err = load_tables(attacher, pid, space);
	elf_allocs__free(&allocs);
	close(fd);
	return err;
}

static int record_child(struct attacher *attacher, int sock, struct host_trial *trial)
{
	uint64_t stats[STAT_MAX];
	int err;

	attacher__start(attacher);
	if (write(sock, "g", 1) != 1)
		return -errno;
	err = read_time(sock, &trial->probed_ns);
	attacher__freeze(attacher);
	if (!err)
		err = map_read_counters(attacher__maps(attacher)->stats, stats, STAT_MAX);
	if (err)
		return err;
	trial->pair_cnt = PAIR_CNT * ROUND_CNT;
	trial->alloc_cnt = stats[STAT_BLOCKS_ADDED];
	trial->free_cnt = stats[STAT_BLOCKS_REMOVED];
	return 0;
}

void host_trial__run(const struct features *features, struct host_trial *ret)
{
	const struct attacher_opts opts = {
		.max_blocks = 1024,
		.max_stacks = 64,
		.max_procs = 64,
		.ring_bytes = 1 << 16,
	};
	struct attacher *attacher = NULL;
	int sock = -1;
	pid_t pid = 0;

	memset(ret, 0, sizeof(*ret));
	ret->load_err = attacher__open(&opts, features, &attacher);
	if (ret->load_err)
		return;
	attacher__has_mmap_layer(attacher, &ret->mmap_err);
	ret->probe_err = start_child(&pid, &sock);
	if (!ret->probe_err)
		ret->probe_err = read_time(sock, &ret->bare_ns);
	if (!ret->probe_err)
		ret->probe_err = probe_child(attacher, pid);
	if (!ret->probe_err)
		ret->probe_err = record_child(attacher, sock, ret);
	if (sock >= 0)
		close(sock);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	attacher__free(attacher);
}
