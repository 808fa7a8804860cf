/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/host_check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "attach/table_memory.h"
#include "attach/tool_memory.h"
#include "util/arch.h"
#include "util/procfs_read.h"
#include "util/units.h"

#define FEW_FILES 1024 /* a host with many containers maps code from more files than that */

/*
 * BPF memory is charged to the cgroup since kernel commit 97306be45fbe ("bpf: switch to memcg-based
 * accounting")
 */
#define MEMCG_KERNEL_MAJOR 5
#define MEMCG_KERNEL_MINOR 11

struct release {
	char *text; /* owned */
	unsigned int major, minor;
};

const char *fact_state__name(enum fact_state state)
{
	static const char *const names[] = {"ok", "limited", "missing", "unknown"};

	return names[state];
}

int host_check__add(struct host_check *check, struct host_fact fact, const char *fmt, ...)
{
	va_list args;
	int len;

	va_start(args, fmt);
	len = vasprintf(&fact.found, fmt, args);
	va_end(args);
	if (len < 0)
		return -ENOMEM;
	if (array_push(&check->facts, fact)) {
		free(fact.found);
		return -ENOMEM;
	}
	check->limit_cnt += fact.state == FACT_LIMITED;
	return 0;
}

/* ---- the kernel ------------------------------------------------------------------------------ */

static bool is_at_least(const struct release *release, unsigned int major, unsigned int minor)
{
	return release->major > major || (release->major == major && release->minor >= minor);
}

static int read_release(struct release *ret)
{
	struct utsname name;

	if (uname(&name))
		return -errno;
	if (sscanf(name.release, "%u.%u", &ret->major, &ret->minor) != 2)
		ret->major = ret->minor = 0;
	ret->text = strdup(name.release);
	return ret->text ? 0 : -ENOMEM;
}

static int add_release(struct host_check *check, const struct release *release)
{
	struct host_fact fact = {.group = "kernel", .name = "release"};

	if (!is_at_least(release, MIN_KERNEL_MAJOR, MIN_KERNEL_MINOR)) {
		fact.state = FACT_LIMITED;
		fact.effect = "not supported there, even where what is tried below works";
	}
	return host_check__add(check, fact, "Linux %s (the minimum is %d.%d)", release->text,
			       MIN_KERNEL_MAJOR, MIN_KERNEL_MINOR);
}

/* Returns the first line of a file, owned, without its newline; NULL when it cannot be read. */
static char *read_line(const char *path)
{
	char *text;
	size_t len;

	if (procfs_read_path(path, &text, &len))
		return NULL;
	text[strcspn(text, "\n")] = '\0';
	return text;
}

static int add_jit(struct host_check *check)
{
	struct host_fact fact = {.group = "kernel", .name = "bpf jit", .state = FACT_UNKNOWN};
	char *value = read_line("/proc/sys/net/core/bpf_jit_enable");
	const char *found = "net.core.bpf_jit_enable cannot be read here";
	int err;

	if (value && !strcmp(value, "0")) {
		fact.state = FACT_LIMITED;
		fact.effect = "programs are interpreted, every hit costs several times as much";
		found = "off (net.core.bpf_jit_enable = 0)";
	} else if (value) {
		fact.state = FACT_OK;
		found = "programs run as machine code";
	}
	err = host_check__add(check, fact, "%s", found);
	free(value);
	return err;
}

static int add_kptr_restrict(struct host_check *check)
{
	struct host_fact fact = {.group = "kernel", .name = "kptr_restrict"};
	char *value = read_line("/proc/sys/kernel/kptr_restrict");
	int err;

	if (!value) {
		fact.state = FACT_UNKNOWN;
		return host_check__add(check, fact, "kernel.kptr_restrict cannot be read here");
	}
	if (!strcmp(value, "2")) {
		err = host_check__add(check, fact,
				      "2: hides kernel addresses from root, too; none are needed");
	} else {
		err = host_check__add(check, fact, "%s: %s", value,
				      strcmp(value, "0") ? "kernel addresses are for the privileged"
							 : "kernel addresses are not hidden");
	}
	free(value);
	return err;
}

static int add_lockdown(struct host_check *check)
{
	struct host_fact fact = {.group = "kernel", .name = "lockdown"};
	char *value = read_line("/sys/kernel/security/lockdown");
	int err;

	if (!value)
		return 0; /* not built in, or nothing mounted there */
	if (strstr(value, "[confidentiality]")) {
		fact.state = FACT_LIMITED;
		fact.effect = "programs may not read kernel memory: boot without "
			      "lockdown=confidentiality";
	}
	err = host_check__add(check, fact, "%s", value);
	free(value);
	return err;
}

/* ---- features: what was tried ---------------------------------------------------------------- */

static bool is_denied(int err)
{
	return err == -EPERM || err == -EACCES;
}

static const char *tracefs_found(void)
{
	if (!access("/sys/kernel/tracing/events", F_OK))
		return "mounted at /sys/kernel/tracing";
	return "not mounted; mounted for this tool alone while it needs it";
}

static int add_feature(struct host_check *check, enum feature feature, bool may_bpf)
{
	static const char *const effects[FEAT_MAX] = {
		[FEAT_BPF] = "nothing can be traced",
		[FEAT_BTF] = "nothing can be traced: boot a kernel with CONFIG_DEBUG_INFO_BTF=y",
		[FEAT_PERF_LINK] = "nothing can be traced",
		[FEAT_UPROBE_MULTI] = "a perf event for each function instead: slower to attach",
		[FEAT_UPROBE_SESSION] = "one probe for a call, one for its return: a bit dearer",
		[FEAT_TRACEFS] = "memory that programs map themselves (mmap, brk) is not followed",
	};
	struct host_fact fact = {.group = "kernel", .name = feature__name(feature)};
	bool is_probe = feature >= FEAT_PERF_LINK && feature <= FEAT_UPROBE_SESSION;
	bool can_load = features__has(&check->features, FEAT_BPF);
	int err = check->features.err[feature];

	if (!err)
		return host_check__add(check, fact, "%s",
				       feature == FEAT_TRACEFS ? tracefs_found()
							       : feature__purpose(feature));
	if (!may_bpf && is_denied(err)) {
		fact.state = FACT_UNKNOWN;
		return host_check__add(check, fact, "cannot be tried without more rights");
	}
	if (is_probe && !can_load) {
		fact.state = FACT_UNKNOWN;
		return host_check__add(check, fact, "cannot be tried without a program");
	}
	if (feature == FEAT_PERF_LINK && features__has(&check->features, FEAT_UPROBE_MULTI))
		return host_check__add(check, fact,
				       "does not work (%s), not needed beside uprobe-multi",
				       strerror(-err));
	fact.effect = effects[feature];
	fact.state = feature <= FEAT_PERF_LINK ? FACT_MISSING : FACT_LIMITED;
	return host_check__add(check, fact, "%s: %s", feature__purpose(feature), strerror(-err));
}

/* What is given up on machines other than x86-64. */
static int add_machine(struct host_check *check)
{
	struct host_fact fact = {
		.group = "kernel",
		.name = "machine",
		.state = FACT_LIMITED,
		.effect = ARCH_LIMITS,
	};

	return fact.effect ? host_check__add(check, fact, ARCH_NAME) : 0;
}

static int add_kernel(struct host_check *check, const struct release *release, bool may_bpf)
{
	int err;

	err = add_release(check, release);
	if (!err)
		err = add_machine(check);
	for (enum feature feature = 0; feature < FEAT_MAX && !err; feature++)
		err = add_feature(check, feature, may_bpf);
	if (!err)
		err = add_jit(check);
	if (!err)
		err = add_kptr_restrict(check);
	return err ? err : add_lockdown(check);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static int add_memlock(struct host_check *check, const struct release *release)
{
	struct host_fact fact = {.group = "limits", .name = "RLIMIT_MEMLOCK"};
	struct rlimit limit = {0};
	char buf[UNITS_MAX];
	const char *size;

	getrlimit(RLIMIT_MEMLOCK, &limit);
	size = limit.rlim_cur == RLIM_INFINITY ? "unlimited"
					       : format_size((int64_t)limit.rlim_cur, buf);
	if (is_at_least(release, MEMCG_KERNEL_MAJOR, MEMCG_KERNEL_MINOR))
		return host_check__add(
			check, fact,
			"%s; does not matter: from Linux 5.11 on tables are not charged to it",
			size);
	if (limit.rlim_cur != RLIM_INFINITY) {
		fact.state = FACT_LIMITED;
		fact.effect = "tables must fit in it: ulimit -l unlimited";
	}
	return host_check__add(check, fact, "%s", size);
}

/* As a capture does it. */
static void raise_nofile(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int add_nofile(struct host_check *check)
{
	struct host_fact fact = {.group = "limits", .name = "RLIMIT_NOFILE"};
	struct rlimit limit = {0};

	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max < FEW_FILES) {
		fact.state = FACT_LIMITED;
		fact.effect = "every file that code is mapped from is held open: with many targets "
			      "some are not probed";
	}
	return host_check__add(check, fact, "may be raised to %llu, and is while tracing",
			       (unsigned long long)limit.rlim_max);
}

/* ---- the trial ------------------------------------------------------------------------------- */

static int add_memory(struct host_check *check)
{
	const struct attacher_opts opts = {
		.max_blocks = DEFAULT_BLOCKS,
		.max_stacks = DEFAULT_STACKS,
		.max_procs = DEFAULT_PROCS,
		.ring_bytes = DEFAULT_RING_BYTES,
	};
	uint64_t kernel_bytes = table_memory__bound(&opts, DEFAULT_UNWIND_BYTES),
		 tool_bytes = tool_memory__bound(&opts);

	return host_check__add(
		check, (struct host_fact){.group = "limits", .name = "memory bound"},
		"at most %llu MiB, when all tables are full: %llu MiB in the kernel and %llu MiB "
		"for leaksweep itself (--memory BYTES sets another bound); up to %u KiB for each "
		"thread that allocates, and, for seconds, what children take that read a file",
		(unsigned long long)(kernel_bytes + tool_bytes) >> 20,
		(unsigned long long)kernel_bytes >> 20, (unsigned long long)tool_bytes >> 20,
		THREAD_MEMORY >> 10);
}

static int add_trial_run(struct host_check *check)
{
	const struct host_trial *trial = &check->trial;
	struct host_fact fact = {.group = "trial", .name = "malloc and free"};

	if (trial->probe_err) {
		fact.state = FACT_MISSING;
		fact.effect = "nothing can be traced";
		return host_check__add(check, fact, "a child of this tool could not be traced: %s",
				       strerror(-trial->probe_err));
	}
	if (trial->alloc_cnt == trial->pair_cnt && trial->free_cnt == trial->pair_cnt)
		return host_check__add(check, fact, "all %llu calls of a child were recorded",
				       2ULL * trial->pair_cnt);
	fact.state = trial->alloc_cnt ? FACT_LIMITED : FACT_MISSING;
	fact.effect = trial->alloc_cnt ? "reports lack some calls" : "nothing can be traced";
	return host_check__add(check, fact, "%llu calls each: %llu of malloc and %llu of free seen",
			       (unsigned long long)trial->pair_cnt,
			       (unsigned long long)trial->alloc_cnt,
			       (unsigned long long)trial->free_cnt);
}

static int add_trial(struct host_check *check)
{
	struct host_fact load = {.group = "trial", .name = "programs"};
	struct host_fact layer = {
		.group = "trial",
		.name = "system calls",
		.state = FACT_LIMITED,
		.effect = "memory that programs map themselves (mmap, brk) is not followed",
	};
	int err;

	if (check->trial.load_err) {
		load.state = FACT_MISSING;
		load.effect = "nothing can be traced";
		return host_check__add(check, load, "the kernel refuses them: %s",
				       strerror(-check->trial.load_err));
	}
	err = host_check__add(check, load, "the kernel takes them all");
	if (!err && check->trial.mmap_err && features__has(&check->features, FEAT_TRACEFS))
		err = host_check__add(check, layer, "their tracepoints cannot be used: %s",
				      strerror(-check->trial.mmap_err));
	return err ? err : add_trial_run(check);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void measure(struct host_check *check)
{
	const struct features *features = &check->features;

	check->mode = link_mode__choose(features, LINK_AUTO, &check->mode_why);
	check->cost_err = check->mode < 0 ? check->mode : calibrate__trap(&check->costs);
	check->trial.load_err = !features__has(features, FEAT_BPF) ? features->err[FEAT_BPF]
								   : features->err[FEAT_BTF];
	if (!check->trial.load_err)
		host_trial__run(features, &check->trial);
	check->can_trace = check->trial.alloc_cnt != 0;
}

int host_check__run(struct host_check *ret)
{
	struct host_check check = {0};
	struct release release = {0};
	bool may_bpf;
	int err;

	err = read_release(&release);
	if (err)
		return err;
	raise_nofile();
	features__probe(&check.features);
	measure(&check);
	err = host_check__add_rights(&check, &may_bpf);
	if (!err)
		err = add_kernel(&check, &release, may_bpf);
	if (!err)
		err = add_memlock(&check, &release);
	if (!err)
		err = add_nofile(&check);
	if (!err)
		err = add_memory(&check);
	if (!err)
		err = host_check__add_cgroups(&check);
	if (!err && features__has(&check.features, FEAT_BPF) &&
	    features__has(&check.features, FEAT_BTF))
		err = add_trial(&check);
	free(release.text);
	if (err)
		host_check__free(&check);
	else
		*ret = check;
	return err;
}

const struct host_fact *host_check__blocker(const struct host_check *check)
{
	const struct host_fact *unknown = NULL;
	bool denied = is_denied(check->features.err[FEAT_BPF]);

	if (check->can_trace)
		return NULL;
	for (size_t i = 0; i < check->facts.cnt; i++) {
		const struct host_fact *fact = &check->facts.items[i];

		/* They are in the order in which one thing is the reason for the next. */
		if (fact->state == FACT_MISSING || (denied && fact->state == FACT_LIMITED))
			return fact;
		if (fact->state == FACT_UNKNOWN && !unknown)
			unknown = fact;
	}
	return unknown ? unknown : &check->facts.items[0];
}

void host_check__free(struct host_check *check)
{
	for (size_t i = 0; i < check->facts.cnt; i++)
		free(check->facts.items[i].found);
	array_free(&check->facts);
}
