/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * First touches (include/touch.h). Three tracepoints make one: the fault tells the address, the
 * page allocator how large the folio is, and kmem:rss_stat, which comes once for each folio that a
 * process's own thread adds to its anonymous memory, that it is there. Only that one is always
 * asked: pages are also added without a fault (MAP_POPULATE), and those that a fork's heir copies
 * are not added. What khugepaged adds is not seen: no code of the process has touched it.
 *
 * From Linux 7.0 on a task can be preempted in a raw tracepoint's program, and others' runs on that
 * CPU are left out then (preempt.bpf.h). Not here: faults are told with interrupts off, and
 * kmem:rss_stat under the page table's lock. Of touch_folio runs can be missed: what a fault adds
 * then counts as one page.
 *
 * Up to Linux 6.1 kmem:rss_stat comes once for some 64 faults and tells the count; what was added
 * since then goes to the stack of the last fault.
 */
#include "arch.bpf.h"
#include "maps.bpf.h"
#include "sample.bpf.h"
#include "stack.bpf.h"
#include "thread.bpf.h"

#define ENOENT 2
#define PF_MEMALLOC 0x800 /* include/linux/sched.h: reclaims memory */
#define MM_ANONPAGES 1	  /* include/linux/mm_types_task.h */
#define GFP_MOVABLE 8	  /* include/linux/gfp_types.h: users' pages are, page tables are not */
#define MAPPING_FLAGS 3	  /* include/linux/page-flags.h: of folio->mapping; 0 = a file's */
#define MAX_ORDER 18	  /* of a folio: 1 GiB */

static __always_inline struct touch_watch *watch_of(const struct thread *thread)
{
	__u32 space = thread->space;

	return bpf_map_lookup_elem(&touch_watches, &space);
}

/* Returns the state of the current thread, made on first use; NULL when nobody watches it. */
static __noinline struct toucher *toucher_get(struct thread *thread)
{
	if (!thread || !watch_of(thread))
		return NULL;
	return bpf_task_storage_get(&touchers, bpf_get_current_task_btf(), 0,
				    BPF_LOCAL_STORAGE_GET_F_CREATE);
}

static __always_inline struct toucher *toucher_current(void)
{
	struct thread *thread = thread_current();

	return thread ? toucher_get(thread) : NULL;
}

static __always_inline void note_fault(__u64 addr, enum touch_kind kind)
{
	struct toucher *toucher = toucher_current();

	if (!toucher)
		return;
	toucher->fault_addr = addr & ~(TOUCH_PAGE - 1);
	toucher->fault_kind = kind;
	toucher->folio = 0;
}

SEC("?raw_tp/page_fault_user")
int touch_by_user(struct bpf_raw_tracepoint_args *ctx)
{
	count(STAT_HITS_TOUCH, 1);
	note_fault(ctx->args[0], TOUCH_USER);
	return 0;
}

SEC("?raw_tp/page_fault_kernel")
int touch_by_kernel(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();

	count(STAT_HITS_TOUCH, 1);
	/* Whoever may not fault only tries: a profiler in the middle of the program's own fault.
	 * Loaded, not read by a helper, which disables faults itself. */
	if ((__s64)ctx->args[0] < 0 || task->pagefault_disabled)
		return 0;
	note_fault(ctx->args[0], TOUCH_KERNEL);
	return 0;
}

SEC("?raw_tp/mm_page_alloc")
int touch_folio(struct bpf_raw_tracepoint_args *ctx)
{
	struct toucher *toucher;

	count(STAT_HITS_TOUCH, 1);
	if (!(ctx->args[2] & GFP_MOVABLE) || !ctx->args[0])
		return 0;
	toucher = toucher_current();
	if (!toucher)
		return 0;
	toucher->folio = ctx->args[0];
	toucher->order = ctx->args[1];
	toucher->folio_nr = syscall_running();
	return 0;
}

/*
 * How much was added. The last folio of this fault or call is, unless it is one of a file that the
 * fault has read in beside its copy. A call that adds none has taken pages away; in a fault that is
 * reclaim's doing alone.
 */
static __always_inline __u64 folio_bytes(struct task_struct *task, struct toucher *toucher, int nr)
{
	struct folio *folio = (void *)toucher->folio;
	__u64 mapping;

	if (BPF_CORE_READ(task, flags) & PF_MEMALLOC)
		return 0;
	if (!folio || toucher->folio_nr != nr)
		return nr < 0 && toucher->fault_addr ? TOUCH_PAGE : 0;
	toucher->folio = 0;
	mapping = (__u64)BPF_CORE_READ(folio, mapping);
	if ((mapping && !(mapping & MAPPING_FLAGS)) || toucher->order > MAX_ORDER)
		return TOUCH_PAGE;
	return TOUCH_PAGE << toucher->order;
}

static __always_inline __u64 counted_bytes(struct touch_watch *watch, __u64 pages)
{
	__u64 last = __sync_lock_test_and_set(&watch->last_pages, pages + 1);

	return last && pages + 1 > last ? (pages + 1 - last) * TOUCH_PAGE : 0;
}

/* Calls that access no memory, only add it, and whose end is seen (touch_called). */
static __always_inline bool is_populating(int nr)
{
	return nr == NR_MMAP || nr == NR_BRK || nr == NR_MADVISE || nr == NR_MLOCK ||
	       nr == NR_MLOCK2;
}

/* A sample from before a move may be of pages that are elsewhere now: user space knows. */
static __noinline int tell_displaced(struct touch_watch *watch, struct touch_page_key *key,
				     struct touch_page *page)
{
	struct touch_move *move;

	if (!watch || !key || !page || watch->moved_ns < page->time_ns)
		return 0;
	move = bpf_ringbuf_reserve(&touch_moves, sizeof(*move), 0);
	if (!move) {
		__sync_fetch_and_add(&watch->moves_lost, 1);
		return 0;
	}
	move->kind = TOUCH_DISPLACED;
	move->space = key->space;
	move->time_ns = bpf_ktime_get_ns();
	move->addr = key->addr;
	move->len = page->span;
	move->to = 0;
	move->page = *page;
	bpf_ringbuf_submit(move, 0);
	return 0;
}

/* Sums are made for good, on first use. */
static __noinline int add_sum(struct touch_watch *watch, struct toucher *toucher, __u64 bytes)
{
	struct touch_sum_key key = {};
	struct touch_sum *sum, zero = {};

	if (!watch || !toucher)
		return 0;
	key.stack_id = toucher->page.stack_id;
	key.space = toucher->key.space;
	key.kind = toucher->page.kind;
	sum = bpf_map_lookup_elem(&touch_sums, &key);
	if (!sum) {
		bpf_map_update_elem(&touch_sums, &key, &zero, BPF_NOEXIST);
		sum = bpf_map_lookup_elem(&touch_sums, &key);
	}
	if (!sum) {
		__sync_fetch_and_add(&watch->unsummed_bytes, bytes);
		return 0;
	}
	__sync_fetch_and_add(&sum->bytes, bytes);
	__sync_fetch_and_add(&sum->samples, 1);
	return 0;
}

/* Puts the sample at its address in the place of what was there. */
static __noinline int keep_page(struct touch_watch *watch, struct toucher *toucher, __u64 bytes)
{
	struct touch_page_key key;
	struct touch_page *old;

	if (!watch || !toucher)
		return 0;
	key = toucher->key;
	if (!key.addr) {
		__sync_fetch_and_add(&watch->unplaced_bytes, bytes);
		return 0;
	}
	old = bpf_map_lookup_elem(&touch_pages, &key);
	if (old)
		tell_displaced(watch, &key, old);
	if (!bytes) {
		if (old)
			bpf_map_delete_elem(&touch_pages, &key);
	} else if (bpf_map_update_elem(&touch_pages, &key, &toucher->page, BPF_ANY)) {
		__sync_fetch_and_add(&watch->unkept_bytes, bytes);
	}
	return 0;
}

/* Tosses whether what toucher->page says is sampled. */
static __noinline int touch(struct thread *thread, struct touch_watch *watch,
			    struct toucher *toucher, bool at_pc)
{
	__u64 p, bytes;

	if (!thread || !watch || !toucher)
		return 0;
	toucher->key.space = thread->space;
	p = sample_probability(toucher->page.bytes, watch->mean_bytes);
	if (p < SAMPLE_ONE && bpf_get_prandom_u32() >= p)
		return toucher->key.addr ? keep_page(watch, toucher, 0) : 0;
	bytes = toucher->page.bytes * sample_weight(p) >> WEIGHT_SHIFT;
	toucher->page.p = p;
	toucher->page.time_ns = bpf_ktime_get_ns();
	toucher->page.stack_id = stack_capture_entry(thread, at_pc);
	__sync_fetch_and_add(&watch->samples, 1);
	__sync_fetch_and_add(&watch->sampled_bytes, bytes);
	add_sum(watch, toucher, bytes);
	return keep_page(watch, toucher, bytes);
}

/* Pages were added to the memory of the current thread's process, somewhere in page.span bytes. */
static __always_inline void added(struct thread *thread, struct touch_watch *watch,
				  struct toucher *toucher, __u64 bytes, int nr)
{
	bool no_access = nr >= 0 && (is_populating(nr) || nr == NR_MLOCKALL);
	__u32 kind = no_access		   ? TOUCH_POPULATE
		     : toucher->fault_addr ? toucher->fault_kind
		     : nr >= 0		   ? TOUCH_KERNEL /* pinned: direct I/O */
					   : TOUCH_USER;

	__sync_fetch_and_add(&watch->seen_bytes[kind < TOUCH_KINDS ? kind : 0], bytes);
	__sync_fetch_and_add(&watch->adds, 1);
	if (is_populating(nr)) {
		if (toucher->populated_nr != nr) {
			__sync_fetch_and_add(&watch->unsampled_bytes, toucher->populated);
			toucher->populated = 0;
		}
		toucher->populated_nr = nr;
		toucher->populated += bytes;
		return;
	}
	toucher->page.kind = kind;
	toucher->page.bytes = bytes;
	toucher->key.addr = no_access ? 0 : toucher->fault_addr & ~(toucher->page.span - 1);
	toucher->fault_addr = 0;
	touch(thread, watch, toucher, nr < 0);
}

/*
 * Up to 6.1 (f1a7941243c1) pages are counted in batches, and kmem:rss_stat tells the count; since
 * then the field is an array, which does not match this one. If the type itself were asked for,
 * libbpf would look for it in modules, which takes CAP_SYS_ADMIN.
 */
struct mm_struct___batched {
	struct mm_rss_stat {
	} rss_stat;
} __attribute__((preserve_access_index));

SEC("?raw_tp/rss_stat")
int touch_added(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct touch_watch *watch;
	struct toucher *toucher;
	struct thread *thread;
	__u64 bytes;
	int nr;

	count(STAT_HITS_TOUCH, 1);
	if ((__u32)ctx->args[1] != MM_ANONPAGES || (__u64)BPF_CORE_READ(task, mm) != ctx->args[0])
		return 0;
	thread = thread_current();
	if (!thread)
		return 0;
	watch = watch_of(thread);
	toucher = toucher_get(thread);
	if (!watch || !toucher)
		return 0;
	nr = syscall_running();
	toucher->page.span = bytes = folio_bytes(task, toucher, nr);
	if (bpf_core_field_exists(struct mm_struct___batched, rss_stat)) {
		bytes = counted_bytes(watch, ctx->args[2]);
		if (!toucher->page.span)
			toucher->page.span = TOUCH_PAGE;
	}
	if (bytes)
		added(thread, watch, toucher, bytes, nr);
	return 0;
}

static __always_inline void tell_move(struct touch_watch *watch, __u32 space, __u64 to)
{
	__u64 addr = syscall_arg(1), len = syscall_arg(2);
	struct touch_move *move;

	if (to == addr || !len)
		return;
	watch->moved_ns = bpf_ktime_get_ns();
	move = bpf_ringbuf_reserve(&touch_moves, sizeof(*move), 0);
	if (!move) {
		__sync_fetch_and_add(&watch->moves_lost, 1);
		return;
	}
	__builtin_memset(move, 0, sizeof(*move));
	move->kind = TOUCH_MOVED;
	move->space = space;
	move->time_ns = watch->moved_ns;
	move->addr = addr;
	move->len = len;
	move->to = to;
	bpf_ringbuf_submit(move, 0);
}

/* Where a call has added `bytes`: in *ret_span bytes from the address on that is returned. */
static __always_inline __u64 populated_at(int nr, __u64 ret, __u64 bytes, __u64 *ret_span)
{
	__u64 addr = syscall_arg(1) & ~(TOUCH_PAGE - 1);

	*ret_span = bytes;
	switch (nr) {
	case NR_MMAP:
		addr = (__s64)ret < 0 ? 0 : ret;
		break;
	case NR_BRK: /* the last that it added */
		addr = ((ret + TOUCH_PAGE - 1) & ~(TOUCH_PAGE - 1)) - bytes;
		break;
	default:
		*ret_span = (syscall_arg(2) + syscall_arg(1) - addr + TOUCH_PAGE - 1) &
			    ~(TOUCH_PAGE - 1);
	}
	return addr;
}

/* All that a call has populated is one sample. */
SEC("?tracepoint/syscalls/sys_exit_mmap")
int touch_called(struct trace_event_raw_sys_exit *ctx)
{
	struct thread *thread = thread_known();
	int nr = (__u32)ctx->id; /* the upper half is not initialised */
	struct touch_watch *watch;
	struct toucher *toucher;
	__u64 bytes, span;
	long ret = ctx->ret;

	count(STAT_HITS_TOUCH, 1);
	if (!thread)
		return 0;
	watch = watch_of(thread);
	toucher = bpf_task_storage_get(&touchers, bpf_get_current_task_btf(), 0, 0);
	if (!watch || (nr != NR_MREMAP && !toucher))
		return 0;
	if (nr == NR_MREMAP) {
		if (ret >= 0 || ret < -4095)
			tell_move(watch, thread->space, ret);
		return 0;
	}
	bytes = toucher->populated;
	toucher->populated = 0;
	if (!bytes || toucher->populated_nr != nr)
		return 0;
	toucher->page.kind = TOUCH_POPULATE;
	toucher->page.bytes = bytes;
	toucher->key.addr = populated_at(nr, ret, bytes, &span);
	toucher->page.span = span;
	return touch(thread, watch, toucher, false);
}

/* Run by the tool on itself: another mean for a space, while its counters go on. */
SEC("?raw_tp")
int touch_adjust(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 space = ctx->args[0];
	struct touch_watch *watch = bpf_map_lookup_elem(&touch_watches, &space);

	if (!watch)
		return ENOENT;
	watch->mean_bytes = ctx->args[1];
	return 0;
}
