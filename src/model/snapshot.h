/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The waist of the program. A snapshot is everything that one moment of a capture says, free of
 * kernel maps, file descriptors of BPF objects and raw addresses: code is a module (build-id) and
 * an offset in its file, stacks are nodes of a prefix tree, text is interned. Left of it (attach,
 * collect) everything knows the kernel; right of it (symbolize, report) nothing does.
 *
 * It is filled once by `collect` through the add functions and read-only afterwards.
 */
#ifndef LEAKSWEEP_MODEL_SNAPSHOT_H
#define LEAKSWEEP_MODEL_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/alloc_fn.h"
#include "include/maps.h"
#include "include/stats.h"
#include "model/cost.h"
#include "util/array.h"
#include "util/hashmap.h"

#define SNAP_NONE UINT32_MAX
#define MAX_BUILD_ID 32

/* One file (or vdso, or anonymous area) that code of some process was mapped from. */
struct snap_module {
	char *path; /* as the process sees it; "[anon]", "[vdso]" or "[unknown]" */
	uint8_t build_id[MAX_BUILD_ID];
	uint8_t build_id_len; /* 0 = none */
	uint64_t dev, ino;    /* 0, 0 = no file */
	int fd; /* borrowed, open for reading as long as the capture lives; -1 = none */
	bool is_remote; /* the file's server may not answer any more */
	bool is_interpreter; /* holds a Python interpreter: its own frames are not the user's */
};

/* A Python function: its file and name as its interpreter tells them. Equal ones of all processes
 * are one. */
struct snap_code {
	char *file, *function; /* owned, UTF-8 */
	uint32_t first_line;
};

enum frame_kind { FRAME_NATIVE = 1, FRAME_PYTHON = 2, FRAME_KERNEL = 3 };

/*
 * A return address. `offset` is the offset in the module's file; in a module without a file it is
 * the address itself. Naming looks one byte before it, where the call is.
 *
 * A Python frame is a line of a Python function: `module` is an index of `codes`, or SNAP_NONE (not
 * known), `offset` is the line, 0 = unknown.
 */
struct snap_frame {
	uint32_t module; /* index, or SNAP_NONE */
	uint32_t kind;	 /* enum frame_kind */
	uint64_t offset;
};

/* A node of the stack tree: node 0 is the empty stack; walking `parent` from a stack's node goes
 * leaf to root. */
struct snap_node {
	uint32_t parent;
	uint32_t frame;
};

enum coverage_status { COVERAGE_PROBED = 1, COVERAGE_PARTIAL = 2, COVERAGE_SKIPPED = 3 };

/* Whether the calls of one allocator of one process are seen. Strings are owned. */
struct snap_coverage {
	char *name; /* "glibc", "jemalloc", "static" ... */
	char *path;
	enum coverage_status status;
	char *reason; /* what is missing and why; "" when probed */
};

/*
 * What is known of a process's Python interpreter and its object allocator. Blocks are those of
 * pymalloc; what an interpreter takes from malloc is counted there.
 */
struct snap_python {
	char *version;		      /* owned, "3.11.2"; NULL = the process has no Python */
	enum coverage_status frames;  /* COVERAGE_PROBED: stacks have Python frames */
	enum coverage_status objects; /* COVERAGE_PROBED: every block is seen */
	char *frames_reason, *objects_reason; /* owned; "" when probed */
	uint32_t alloc_sites, free_sites;     /* probed places of the object allocator */
	bool has_frees;	  /* frees are seen; else a look at the pools tells who is live */
	bool was_scanned; /* the pools were looked at for this snapshot; else all below is 0 */
	uint64_t live_cnt, live_bytes;	   /* blocks in use, by the pools */
	uint64_t seen_cnt, seen_bytes;	   /* of these, allocations that were seen */
	uint64_t old_cnt, old_bytes;	   /* of these, older than the trace */
	uint64_t missed_cnt, missed_bytes; /* of these, the rest: allocations that were not seen */
	uint64_t dead_cnt;		   /* blocks whose free was not seen, though frees are */
	uint64_t pool_free_bytes;	   /* kept by pymalloc in these pools */
	uint64_t arena_bytes;		   /* mappings that pymalloc made for pools */
	uint64_t torn_cnt;		   /* pools that changed while they were read */
	uint64_t merge_violations; /* stacks whose Python frames could not be put into their places
				    */
};

/* How much is known of what malloc keeps. */
enum heaps_kept {
	HEAPS_KEPT_UNKNOWN = 0,
	HEAPS_KEPT_AT_LEAST = 1, /* blocks older than the trace may be in use, too */
	HEAPS_KEPT_WHOLE = 2,	 /* every block was seen: it is exact but for rounding */
};

/*
 * Where the resident memory of a process is. The parts add up to the total, but for those that are
 * said to be of another.
 */
struct snap_resident {
	bool is_known;
	uint64_t total_bytes;
	uint64_t objects_bytes;	     /* pymalloc's blocks in use */
	uint64_t objects_kept_bytes; /* the rest of its pools */
	uint64_t heaps_bytes;	     /* malloc's: [heap], and glibc's heaps of threads */
	uint32_t thread_heaps;	     /* how many of the latter there are */
	uint64_t heaps_live_bytes;   /* of heaps: asked for since the trace began, and live ... */
	uint64_t heaps_used_bytes;   /* ... and what those blocks take up there */
	enum heaps_kept heaps_kept;
	uint64_t heaps_kept_bytes;  /* of heaps: in no block */
	uint64_t mapped_bytes;	    /* other anonymous memory */
	uint64_t files_bytes;	    /* code and data */
	uint64_t files_dirty_bytes; /* of files: written, and the process's own */
	uint64_t stacks_bytes;
	uint64_t shared_bytes;
	uint64_t unread_bytes;	/* not looked at: it would have taken too long */
	uint64_t swapped_bytes; /* of no part: what is not resident */
};

enum proc_state { PROC_RUNNING = 1, PROC_EXITED = 2, PROC_EXECED = 3 };

/*
 * A control group of traced processes: what people call it, and its memory as the kernel counts it,
 * all groups below included.
 */
struct snap_group {
	char *path; /* as snap_proc.cgroup; this and all other text is owned, "" = none */
	char *title, *runtime, *container, *container_id, *image, *service, *pod, *pod_namespace;
	char *pod_uid;
	bool is_measured;		   /* else all figures up to the losses are 0 */
	uint64_t anon_bytes, file_bytes;   /* the latter with shared memory (shmem) */
	uint64_t usage_bytes, limit_bytes; /* of the group with the least room on the way up; limit
					      0 = there is none, the usage is its own */
	uint64_t reclaimable_bytes;	   /* of that usage: page cache, room below the limit */
	char *limit_path;	     /* that group when it is one above, "" = it is this one */
	uint64_t measured_ns;	     /* over which growth is told, 0 = not yet */
	double growth_per_min;	     /* of anon_bytes */
	double limit_growth_per_min; /* the same of the group with the limit: of all that share it
				      */
	/* For it had its share of the tables: blocks that are not followed, their bytes as far as
	 * the table of blocks was full, and blocks that are counted without their stack. */
	uint64_t lost_blocks, lost_bytes, lost_stacks;
	char *lost_path; /* whose losses these are when the memory controller counts this group in
			    one above, with all others there; "" = its own */
};

struct snap_proc {
	int32_t pid;
	int32_t ns_pid;		   /* in the PID namespace it runs in, 0 = the same number */
	uint32_t group;		   /* index, or SNAP_NONE */
	uint64_t start_ns;	   /* since boot; with pid the identity of the process */
	char *comm, *exe, *cgroup; /* owned; "" when unknown */
	char *container;	   /* owned: its title; "" = none */
	uint64_t rss_bytes;	   /* 0 when it has ended */
	enum proc_state state;
	int32_t exit_code; /* as wait(2) gives it, when state is PROC_EXITED */
	bool inherited;	   /* forked from a traced process */
	bool late;	   /* probes reached it only after it had begun to run */
	ARRAY(struct snap_coverage) coverage;
	struct snap_python python;
	struct snap_resident resident;
};

/* How many of a row's live blocks hold objects of a type. */
struct snap_type_share {
	uint32_t type; /* index in `types` */
	int64_t cnt, bytes;
};

/* Memory that was asked for and refused, or a process that the kernel killed for memory. */
enum failure_kind {
	FAILURE_ALLOC = 1,	  /* an allocator returned nothing */
	FAILURE_MAPPING = 2,	  /* mmap, mremap or brk failed */
	FAILURE_MEMORY_ERROR = 3, /* Python raised MemoryError */
	FAILURE_OOM_KILL = 4,	  /* the kernel's OOM killer chose the process */
};

struct snap_failure {
	enum failure_kind kind;
	uint32_t proc;	  /* index */
	uint32_t stack;	  /* node, 0 = none */
	uint64_t time_ns; /* CLOCK_REALTIME */
	uint64_t bytes;	  /* asked for; 0 = not known */
	uint64_t cnt;	  /* equal ones, this is the first */
	char *limit;	  /* owned: which limit refused it, a sentence; "" = not known */
};

/* The text of a source file. */
struct snap_source {
	char *path;   /* owned, as symbols name it */
	char *text;   /* owned; NULL = it could not be read */
	size_t len;   /* bytes of it; there is no NUL among them */
	int32_t pid;  /* through whose root it was read, 0 = the tool's own */
	char *reason; /* owned: why there is no text, or what is to be said of it; "" */
};

/* All blocks of one process, layer and stack. */
struct snap_row {
	uint32_t proc;	/* index */
	uint32_t stack; /* node of the stack tree */
	uint8_t layer;	/* enum layer */
	uint8_t unwind; /* enum unwind_end */
	bool chained;	/* some frame was found by frame pointers, without a table */
	struct cost cost;
	uint32_t first_type, type_cnt; /* in `type_shares`, largest first; none = not looked at */
	uint64_t oldest_ns,
		newest_ns; /* ages of live blocks at the snapshot; 0 when none was looked at */
};

struct snap_overhead {
	uint64_t probe_hits;	 /* since the start of the run: all traps taken */
	uint64_t foreign_hits;	 /* of these, in processes that are not traced */
	double ns_per_hit;	 /* trap and program, measured on this host; 0 = not measured */
	double cpu_percent;	 /* of one CPU, over the run: probe_hits * ns_per_hit / duration */
	double tool_cpu_percent; /* the tool's, with its children, of one CPU */
	uint64_t tool_bytes;	   /* anonymous memory of the tool now ... */
	uint64_t tool_bound_bytes; /* ... and at most; 0 = not known */
	uint64_t map_bytes; /* of the kernel's memory, in the tool's tables but unwind tables */
};

/* The unwind tables that stacks were walked with. */
struct snap_unwind {
	uint32_t tables, from_cache; /* files, and how many of them needed no compiling */
	uint32_t failed;	     /* files that could not be compiled */
	uint32_t evicted;	     /* tables that had to make room for others */
	uint64_t rows;
	uint64_t bytes;	  /* of kernel memory */
	uint64_t load_ns; /* time spent on getting them */
	int cache_err;	  /* why there is no cache on disk, negative errno; 0 = there is */
};

struct snapshot {
	const char *mode;	/* "trace", ...; static string */
	uint64_t started_at_ns; /* CLOCK_REALTIME, start of the capture */
	uint64_t duration_ns;
	uint64_t interval;     /* 0 = final, else number of the interval from 1 */
	bool estimated;	       /* sampling: costs are scaled estimates */
	uint64_t sample_bytes; /* mean bytes between samples, 0 = every allocation */
	uint64_t
		min_age_ns; /* rows' live figures hold only blocks at least this old, 0 = all ... */
	int64_t young_bytes, young_count; /* ... and these are the younger ones, in no row */
	char *hostname, *kernel, *arch;
	uint32_t cpus;

	ARRAY(struct snap_module) modules;
	ARRAY(struct snap_code) codes;
	ARRAY(char *) types; /* owned names of Python types */
	ARRAY(struct snap_type_share) type_shares;
	ARRAY(struct snap_failure) failures; /* in their order */
	ARRAY(struct snap_source) sources;   /* only those that somebody asked for */
	ARRAY(struct snap_frame) frames;
	ARRAY(struct snap_node) nodes;
	ARRAY(struct snap_proc) procs;
	ARRAY(struct snap_group) groups;
	ARRAY(struct snap_row) rows;

	uint64_t stats[STAT_MAX];  /* since the start of the capture */
	uint64_t blocks_checked;   /* live blocks that were counted one by one ... */
	int64_t unaccounted_bytes; /* ... and the difference to the sums: 0 unless something is
				      wrong */
	int64_t unaccounted_count;
	uint64_t ended_bytes,
		ended_count; /* live in processes that ended; the kernel took them back */
	uint64_t ended_procs;
	uint64_t reserved_bytes; /* address space that processes only reserved: in no row */
	struct snap_overhead overhead;
	struct snap_unwind unwind;
	const char *probe_mode,
		*probe_why; /* which kind of probe was used and why; static strings, or NULL */
	ARRAY(char *)
	notes; /* owned sentences for the reader: gaps, fall-backs, what was not seen */

	/* interning, private to snapshot.c */
	struct hashmap frame_index, node_index, code_index, type_index;
};

/* Returns an empty snapshot with the host's names filled in, or NULL. Free with snapshot__free. */
struct snapshot *snapshot__new(const char *mode);
void snapshot__free(struct snapshot *snap);

/* Adds a module; `path` is copied. Returns its index or SNAP_NONE (no memory). */
uint32_t snapshot__add_module(struct snapshot *snap, const char *path, uint64_t dev, uint64_t ino,
			      const uint8_t *build_id, size_t build_id_len, int fd);

/* Interns a Python function; the text is copied. Returns its index or SNAP_NONE. */
uint32_t snapshot__add_code(struct snapshot *snap, const char *file, const char *function,
			    uint32_t first_line);

/* Interns the name of a type. Returns its index or SNAP_NONE. */
uint32_t snapshot__add_type(struct snapshot *snap, const char *name);

/* Appends a share to the last row. Returns 0, -EINVAL (no row, no such type) or -ENOMEM. */
int snapshot__add_type_share(struct snapshot *snap, uint32_t type, int64_t cnt, int64_t bytes);

/* Appends a failure (copied; `limit` is copied too, NULL counts as ""). Returns 0, -EINVAL (no such
 * process or stack) or -ENOMEM. */
int snapshot__add_failure(struct snapshot *snap, const struct snap_failure *failure);

/*
 * Adds the text of a source file, taken over from the caller (NULL = none) also on failure; the
 * rest is copied. Returns 0 or -ENOMEM.
 */
int snapshot__add_source(struct snapshot *snap, const char *path, char *text, size_t len,
			 int32_t pid, const char *reason);

/* Interns a frame. Returns its index or SNAP_NONE. */
uint32_t snapshot__add_frame(struct snapshot *snap, enum frame_kind kind, uint32_t module,
			     uint64_t offset);

/* Interns a stack of frame indexes, leaf first. Returns its node (0 = the empty stack) or
 * SNAP_NONE. */
uint32_t snapshot__add_stack(struct snapshot *snap, const uint32_t *frames, size_t frame_cnt);

/* Adds a process; strings are copied, NULL counts as "". Returns its index or SNAP_NONE. */
uint32_t snapshot__add_proc(struct snapshot *snap, int32_t pid, uint64_t start_ns, const char *comm,
			    const char *exe, const char *cgroup, const char *container);

/* Adds a control group; strings are copied, NULL counts as "". Returns its index or SNAP_NONE. */
uint32_t snapshot__add_group(struct snapshot *snap, const struct snap_group *group);

/*
 * Says which group a process is in. A container's title becomes the process's container. Returns 0,
 * -EINVAL (no such process or group) or -ENOMEM.
 */
int snapshot__set_group(struct snapshot *snap, uint32_t proc, uint32_t group);

/* Adds an allocator's coverage to a process; strings are copied. Returns 0 or -ENOMEM. */
int snapshot__add_coverage(struct snapshot *snap, uint32_t proc, const char *name, const char *path,
			   enum coverage_status status, const char *reason);

/* Appends a row (copied). Returns 0 or -ENOMEM. */
int snapshot__add_row(struct snapshot *snap, const struct snap_row *row);

/* Appends a printf-style note. Returns 0 or -ENOMEM. */
int snapshot__add_note(struct snapshot *snap, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
