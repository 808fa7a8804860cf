/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From an address to its unwind rule. Which file is mapped there is asked of the kernel itself
 * (bpf_find_vma), so that no list of mappings can be late or stale; code_pages remembers the
 * answer. Files are known by device and inode as the kernel holds them, which is the same file
 * through every mount namespace and overlay. A file that is not known yet is asked for by an event.
 */
#include "code.bpf.h"
#include "thread.bpf.h"

#define VM_EXEC 4
#define MAX_LOCK_TRIES 16
#define MAX_SEARCH_STEPS 17 /* of UNWIND_PAGE_SIZE rows */

static long read_mapping(struct task_struct *task, struct vm_area_struct *vma,
			 struct found_code *found)
{
	struct file *file = BPF_CORE_READ(vma, vm_file);

	found->executable = (BPF_CORE_READ(vma, vm_flags) & VM_EXEC) != 0;
	found->start = BPF_CORE_READ(vma, vm_start);
	found->end = BPF_CORE_READ(vma, vm_end);
	if (!file)
		return 0;
	found->pgoff = BPF_CORE_READ(vma, vm_pgoff);
	found->file.ino = BPF_CORE_READ(file, f_inode, i_ino);
	found->file.dev = BPF_CORE_READ(file, f_inode, i_sb, s_dev);
	found->file.generation = BPF_CORE_READ(file, f_inode, i_generation);
	return 0;
}

/* Like others here this is no static function, because the verifier looks at such a one only once.
 */
__noinline int code_find_mapping(__u64 addr, struct found_code *ret_found)
{
	struct found_code found = {}; /* the helper's callback takes nothing but stack memory */
	long err = -1;

	if (!ret_found)
		return CODE_NOWHERE;
	/* The lock may be taken for an instant by a thread that maps something. */
	for (int i = 0; i < MAX_LOCK_TRIES; i++) {
		err = bpf_find_vma(bpf_get_current_task_btf(), addr, read_mapping, &found, 0);
		if (err != -16 /* EBUSY */)
			break;
	}
	*ret_found = found;
	if (!err)
		return found.executable ? 0 : CODE_NOWHERE;
	return err == -16 ? CODE_NO_TABLE : CODE_NOWHERE;
}

__noinline bool is_code(__u64 addr)
{
	struct found_code found;

	return !code_find_mapping(addr, &found);
}

/* Asks user space for the table of a file. */
static __noinline int request_table(__u64 addr, struct code_file *file, __u32 space)
{
	__u32 none = UNWIND_MODULE_NONE;
	struct event *event;

	if (bpf_map_update_elem(&code_files, file, &none, BPF_NOEXIST))
		return 0; /* asked already */
	event = event_reserve(EV_CODE_NEW, space);
	if (!event) {
		bpf_map_delete_elem(&code_files, file);
		return 0;
	}
	event->code.addr = addr;
	event->code.file = *file;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

/* Returns 0 with *page filled in, or CODE_*. */
static __always_inline int find_page(struct walker *walker, __u64 pc, __u32 space,
				     struct code_page *page)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct found_code *found = &walker->found;
	struct code_file file;
	__u32 *module;
	int err;

	page->module = UNWIND_MODULE_NONE;
	page->to_offset = 0;
	err = code_find_mapping(pc, found);
	if (err)
		return err;
	if (!found->file.ino) {
		if (found->start == (__u64)BPF_CORE_READ(task, mm, context.vdso)) {
			page->module = UNWIND_MODULE_VDSO;
			page->to_offset = -found->start;
		}
		return 0;
	}
	file = found->file; /* a key lies on the stack (Linux 6.1) */
	module = bpf_map_lookup_elem(&code_files, &file);
	if (!module || !*module) {
		if (!module)
			request_table(pc, &file, space);
		return CODE_NO_TABLE;
	}
	page->module = *module;
	page->to_offset = (found->pgoff << 12) - found->start;
	return 0;
}

static __always_inline __u64 *cell_at(void *chunk, __u32 cell)
{
	__u32 place = cell & (UNWIND_CHUNK_CELLS - 1);

	return bpf_map_lookup_elem(chunk, &place);
}

static __always_inline void *chunk_of(__u32 cell)
{
	__u32 chunk = cell >> UNWIND_CHUNK_BITS;

	return bpf_map_lookup_elem(&unwind_cells, &chunk);
}

/*
 * Finds the row in force at the offset: the last one that does not begin behind it. Returns
 * UNWIND_RULE_NONE's row when there is none.
 */
__noinline __u64 code_search(__u32 pages_at, __u32 offset_page, __u32 in_page)
{
	__u32 cell = pages_at + offset_page, first, len;
	void *chunk = chunk_of(cell);
	__u64 *value, best = 0;

	if (!chunk)
		return 0;
	value = cell_at(chunk, cell);
	if (!value)
		return 0;
	first = (__u32)*value;
	len = *value >> 32;
	chunk = chunk_of(first);
	if (!chunk)
		return 0;
	for (int i = 0; i < MAX_SEARCH_STEPS && len; i++) {
		__u32 half = len / 2;

		value = cell_at(chunk, first + half);
		if (!value)
			break;
		if ((__u16)*value <= in_page) {
			best = *value;
			first += half + 1;
			len -= half + 1;
		} else {
			len = half;
		}
	}
	return best;
}

/* Asks for a table back that had to go. */
static __noinline int request_evicted(struct unwind_module *module, __u32 id, __u32 space)
{
	struct event *event;

	if (!module || __sync_val_compare_and_swap(&module->state, UNWIND_MODULE_EVICTED,
						   UNWIND_MODULE_WANTED) != UNWIND_MODULE_EVICTED)
		return 0;
	event = event_reserve(EV_CODE_WANTED, space);
	if (!event) {
		__sync_val_compare_and_swap(&module->state, UNWIND_MODULE_WANTED,
					    UNWIND_MODULE_EVICTED);
		return 0;
	}
	event->code.module = id;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

/* Returns the rule with *ret_row filled in, or CODE_NO_TABLE. */
static __always_inline int find_row(struct code_page *page, __u64 pc, __u32 space, __u64 *ret_row)
{
	__u64 offset = pc + page->to_offset;
	struct unwind_module *module;

	*ret_row = 0;
	if (page->module == UNWIND_MODULE_NONE)
		return UNWIND_RULE_NONE; /* code made at run time */
	module = bpf_map_lookup_elem(&unwind_modules, &page->module);
	if (!module)
		return CODE_NO_TABLE;
	module->used = bpf_ktime_get_ns() >> 24;
	if (module->state == UNWIND_MODULE_BARE)
		return UNWIND_RULE_NONE;
	if (module->state != UNWIND_MODULE_LOADED) {
		request_evicted(module, page->module, space);
		return CODE_NO_TABLE;
	}
	if (offset >> UNWIND_PAGE_BITS >= module->page_cnt)
		return UNWIND_RULE_NONE;
	*ret_row = code_search(module->pages_at, offset >> UNWIND_PAGE_BITS,
			       offset & (UNWIND_PAGE_SIZE - 1));
	return *ret_row >> 16 & 0xff;
}

__noinline int code_look_up(struct thread *thread, struct walker *walker, __u64 pc)
{
	struct code_page_key key = {.page = pc >> 12};
	struct code_page *known, page;
	struct known_rule *set;
	__u64 row;
	int rule;

	if (!thread || !walker)
		return CODE_NOWHERE;
	walker->walk.frame = pc + 1;
	count(STAT_RULES_LOOKED_UP, 1);
	key.space = thread->code_space;
	key.epoch = thread->code_epoch;
	known = bpf_map_lookup_elem(&code_pages, &key);
	if (known) {
		page = *known;
	} else {
		__builtin_memset(&page, 0, sizeof(page));
		rule = find_page(walker, pc, thread->space, &page);
		if (rule)
			return rule;
		bpf_map_update_elem(&code_pages, &key, &page, BPF_ANY);
	}
	if (page.module != UNWIND_MODULE_NONE)
		walker->walk.frame = (__u64)page.module << FRAME_MODULE_SHIFT |
				     ((pc + 1 + page.to_offset) & FRAME_OFFSET_MASK);
	rule = find_row(&page, pc, thread->space, &row);
	if (rule >= UNWIND_RULE_MAX)
		return CODE_NO_TABLE;
	*(__u64 *)&walker->walk.row = row;
	set = known_rules(thread, pc);
	set[1] = set[0]; /* the older one of the two goes */
	set->pc = pc;
	set->frame = walker->walk.frame;
	*(__u64 *)&set->row = row;
	return rule;
}

/* Run by the tool on itself: how the kernel knows the file that is mapped at the address. */
SEC("?raw_tp")
int identify_code(struct bpf_raw_tracepoint_args *ctx)
{
	struct found_code found;

	identified[0] = 0;
	if (code_find_mapping(ctx->args[0], &found) != CODE_NO_TABLE)
		*(struct code_file *)identified = found.file;
	return 0;
}
