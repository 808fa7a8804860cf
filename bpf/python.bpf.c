/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CPython's frames from inside a probe.
 *
 * A thread's own frames hold still while its probe runs, with or without the GIL: nobody else
 * changes them. What user space must know of a code object is copied at its first sight, for it may
 * be freed at any time; a code object is known by its address and by what its fields say, so that
 * another one at the same address is another one.
 */
#include "python.bpf.h"
#include "arch.bpf.h"
#include "stack.bpf.h"
#include "thread.bpf.h"

#define GO_ON (-1)
#define UNICODE_LENGTH 16 /* in PyASCIIObject and PyBytesObject (PyVarObject): s64 */
#define UNICODE_STATE 32
#define UNICODE_EXTRA 24     /* by which PyCompactUnicodeObject is larger, 3.8 to 3.11 ... */
#define UNICODE_EXTRA_312 16 /* ... and since, without wstr_length */
#define BYTES_DATA 32
#define OBJECT_TYPE 8

/* ---- frames -----------------------------------------------------------------------------------
 */

/* Returns the current thread's thread state, 0 = it has none. */
static __always_inline __u64 find_thread_state(const struct python_proc *proc)
{
	__u64 tp, state = 0, block = 0;
	__u32 key = proc->key, fresh[2]; /* Py_tss_t: _is_initialized, _key */

	if (proc->key_at) {
		if (bpf_probe_read_user(fresh, sizeof(fresh), (void *)(proc->key_at - 4)) ||
		    !fresh[0])
			return 0;
		key = fresh[1];
	}
	tp = thread_pointer();
	if (key < 32) {
		bpf_probe_read_user(&state, sizeof(state),
				    (void *)(tp + proc->tsd_first + 16 * (__u64)key));
		return state;
	}
	bpf_probe_read_user(&block, sizeof(block),
			    (void *)(tp + proc->tsd_second + 8 * (key / 32)));
	if (block)
		bpf_probe_read_user(&state, sizeof(state), (void *)(block + 16 * (key % 32) + 8));
	return state;
}

static __always_inline __u64 find_first_frame(const struct python_proc *proc, __u64 state)
{
	__u64 frame = 0, holder = state + proc->thread_frame;

	if (bpf_probe_read_user(&frame, sizeof(frame), (void *)holder))
		return 0;
	if (proc->cframe_frame < 0 || !frame)
		return frame;
	holder = frame + proc->cframe_frame;
	if (bpf_probe_read_user(&frame, sizeof(frame), (void *)holder))
		return 0;
	return frame;
}

static __always_inline const __u8 *frame_byte(const struct python_walker *walker, __u32 off)
{
	return walker->window + (walker->frame & (FRAME_WINDOW - 1)) + (off & 127);
}

static __always_inline __u64 frame_word(const struct python_walker *walker, __u32 off)
{
	return *(__u64 *)frame_byte(walker, off);
}

/*
 * Reads the frame at walker->at, and what lies before it on its page: since 3.11 its callers are
 * there. (A page that is not in memory costs 3 us.) Returns whether it could be read.
 */
static __always_inline bool read_frame(struct python_walker *walker, const struct python_proc *proc)
{
	__u64 at = walker->at, end = at + PYTHON_FRAME_BYTES, start = end - FRAME_WINDOW;
	__u64 off = at - walker->window_at;
	__u32 len;

	if (off < FRAME_WINDOW && off + PYTHON_FRAME_BYTES <= walker->window_len) {
		walker->frame = off;
		return true;
	}
	if (start < (at & ~4095ULL))
		start = at & ~4095ULL;
	if (proc->chunk == PYTHON_CHUNK_EACH)
		start = at;
	len = end - start;
	if (len > FRAME_WINDOW)
		return false;
	walker->window_len = 0;
	if (bpf_probe_read_user(walker->window, len, (void *)start))
		return false;
	walker->window_at = start;
	walker->window_len = len;
	walker->frame = at - start;
	return true;
}

static __always_inline __u64 code_word(const struct python_walker *walker, __u32 off)
{
	return *(__u64 *)(walker->code + (off & 255));
}

static __always_inline void copy_text(struct python_text *text, __u64 string,
				      const struct python_proc *proc)
{
	__u32 state = 0, width, extra;
	__u64 chars = 0, len, at;

	text->chars = 0;
	text->len = 0;
	text->width = 0;
	text->is_ascii = 0;
	if (bpf_probe_read_user(&chars, sizeof(chars), (void *)(string + UNICODE_LENGTH)) ||
	    bpf_probe_read_user(&state, sizeof(state), (void *)(string + UNICODE_STATE)))
		return;
	/* { interned:2; kind:3; compact:1; ascii:1 }; in some builds of 3.14 interned has 16 bits
	 */
	state = state & 28 ? state >> 2 : state >> 16;
	width = state & 7;
	if ((width != 1 && width != 2 && width != 4) || !(state & 8) || chars > 1 << 20)
		return;
	extra = proc->ascii_size == 48 ? UNICODE_EXTRA : UNICODE_EXTRA_312;
	at = string + proc->ascii_size + (state & 16 ? 0 : extra);
	len = chars * width;
	if (len > PYTHON_TEXT_BYTES)
		len = PYTHON_TEXT_BYTES;
	if (len && bpf_probe_read_user(text->bytes, len, (void *)at))
		return;
	text->chars = chars;
	text->len = len;
	text->is_ascii = !!(state & 16);
	text->width = width;
}

static __always_inline void copy_lines(struct python_code *record, __u64 bytes)
{
	__u64 len = 0;

	record->lines_at = bytes + BYTES_DATA;
	record->lines_len = 0;
	record->lines_copied = 0;
	if (bpf_probe_read_user(&len, sizeof(len), (void *)(bytes + UNICODE_LENGTH)) ||
	    len > 1 << 24)
		return;
	record->lines_len = len;
	if (len > PYTHON_LINES_BYTES)
		len = PYTHON_LINES_BYTES;
	if (len && !bpf_probe_read_user(record->lines, len, (void *)record->lines_at))
		record->lines_copied = len;
}

/* Tells user space of a code object. Returns its new number, or PYTHON_CODE_LOST. */
static __noinline __u32 tell_code(struct python_walker *walker, const struct python_proc *proc,
				  __u64 addr, __u32 space)
{
	struct python_code *record;
	__u32 id;

	if (!walker || !proc)
		return PYTHON_CODE_LOST;
	record = bpf_ringbuf_reserve(&python_codes, sizeof(*record), 0);
	if (!record) {
		count(STAT_CODES_LOST, 1);
		return PYTHON_CODE_LOST;
	}
	id = __sync_fetch_and_add(&next_code, 1) + PYTHON_CODE_FIRST;
	record->id = id;
	record->space = space;
	record->addr = addr;
	record->first_line = code_word(walker, proc->code_first_line);
	record->zero = 0;
	copy_text(&record->file, code_word(walker, proc->code_file), proc);
	copy_text(&record->name, code_word(walker, proc->code_name), proc);
	copy_lines(record, code_word(walker, proc->code_lines));
	bpf_ringbuf_submit(record, 0);
	return id;
}

static __always_inline struct known_code *known_code(struct python_walker *walker, __u64 addr)
{
	return &walker->known[(addr >> 4 ^ addr >> 10) & (KNOWN_CODES - 1)];
}

/*
 * Returns what is known of the code object at `addr`, NULL = it has to be read. A frame holds its
 * code object, so it has been the same since it was read unless it was freed in between and another
 * made in its place, which begins a new generation.
 */
static __always_inline struct known_code *remembered_code(struct python_walker *walker,
							  const struct python_proc *proc,
							  __u64 addr, __u32 space)
{
	struct known_code *known = known_code(walker, addr);

	if (!proc->sees_all_blocks || known->addr != addr || known->space != space ||
	    known->generation != code_generation)
		return NULL;
	return known;
}

/* Reads the code object at `addr` into walker->code. Returns GO_ON or enum python_end. */
static __always_inline int read_code(struct python_walker *walker, const struct python_proc *proc,
				     __u64 addr)
{
	if (proc->code_first_unit) {
		if (bpf_probe_read_user(walker->code, PYTHON_LONG_CODE_BYTES, (void *)addr))
			return PYTHON_END_UNREADABLE;
	} else if (bpf_probe_read_user(walker->code, PYTHON_CODE_BYTES, (void *)addr)) {
		return PYTHON_END_UNREADABLE;
	}
	return code_word(walker, OBJECT_TYPE) == proc->code_type ? GO_ON : PYTHON_END_BROKEN;
}

/* Mixes what an object of text or bytes says into a hash: another one may lie at its address. */
static __always_inline __u64 mix_contents(struct python_walker *walker, __u64 check, __u64 object)
{
	check = (check ^ object) * 0x9e3779b97f4a7c15ULL;
	if (bpf_probe_read_user(walker->text, sizeof(walker->text),
				(void *)(object + UNICODE_LENGTH)))
		return check ^ check >> 32;
	for (int i = 0; i < 8; i++)
		check = (check ^ check >> 32 ^ walker->text[i]) * 0x9e3779b97f4a7c15ULL;
	return check ^ check >> 32;
}

/* Finds the code object whose bytes are in walker->code. Returns what is known of it. */
static __noinline struct known_code *
find_code(struct python_walker *walker, const struct python_proc *proc, __u64 addr, __u32 space)
{
	struct python_code_key key = {.addr = addr, .space = space};
	__u32 *found, id, generation = code_generation;
	struct known_code *known;
	__u64 check;

	if (!walker || !proc)
		return NULL;
	check = (__u32)code_word(walker, proc->code_first_line);
	check = mix_contents(walker, check, code_word(walker, proc->code_name));
	check = mix_contents(walker, check, code_word(walker, proc->code_file));
	check = mix_contents(walker, check, code_word(walker, proc->code_lines));
	known = known_code(walker, addr);
	*code_mark(addr) = 1;
	if (known->addr == addr && known->check == check && known->space == space) {
		known->generation = generation;
		return known;
	}
	known->addr = 0;
	key.check = check;
	found = bpf_map_lookup_elem(&python_code_ids, &key);
	if (found) {
		id = *found;
	} else {
		id = tell_code(walker, proc, addr, space);
		/* Another thread may have been faster: then it has two numbers, which is no harm.
		 */
		if (id != PYTHON_CODE_LOST &&
		    bpf_map_update_elem(&python_code_ids, &key, &id, BPF_ANY))
			count(STAT_CODES_LOST, 1);
	}
	known->check = check;
	known->space = space;
	known->generation = generation;
	known->first_unit = proc->code_first_unit ? code_word(walker, proc->code_first_unit) : 0;
	known->id = id;
	if (id != PYTHON_CODE_LOST)
		known->addr = addr;
	return known;
}

static __always_inline __u32 find_unit(const struct python_walker *walker,
				       const struct python_proc *proc, __u64 code)
{
	__u64 instr = frame_word(walker, proc->frame_instr);

	switch (proc->instr) {
	case PYTHON_INSTR_POINTER:
		instr = (instr - (code + proc->code_instrs)) / 2;
		break;
	case PYTHON_INSTR_UNITS:
		instr = (__u32)instr;
		break;
	default:
		instr = (__s32)instr < 0 ? PYTHON_NO_UNIT : (__u32)instr / 2;
		break;
	}
	return instr < PYTHON_NO_UNIT ? instr : PYTHON_NO_UNIT;
}

/* Whether the frame belongs to a generator. */
static __always_inline bool is_held(const struct python_walker *walker,
				    const struct python_proc *proc)
{
	return *frame_byte(walker, proc->frame_holder) == 1; /* FRAME_OWNED_BY_GENERATOR */
}

static __always_inline void keep(struct python_walker *walker, __u64 frame)
{
	walker->stack.frame[walker->cnt++ & (MAX_PYTHON_FRAMES - 1)] = frame;
}

/* The last frame kept ends its chunk; with none in it the chunk is empty. */
static __always_inline void end_chunk(struct python_walker *walker)
{
	if (walker->in_chunk)
		walker->stack.frame[(walker->cnt - 1) & (MAX_PYTHON_FRAMES - 1)] |=
			PYTHON_FRAME_LAST;
	else
		keep(walker, PYTHON_FRAME_LAST | (__u64)PYTHON_CODE_NONE << PYTHON_CODE_SHIFT);
	walker->in_chunk = false;
}

/* Keeps the frame at walker->at and goes to its caller. Returns GO_ON or enum python_end. */
__noinline int python_step(struct python_walker *walker, const struct python_proc *proc,
			   __u32 space)
{
	struct known_code *known;
	__u32 unit;
	__u64 code;
	__u8 owner;
	int end;

	if (!walker || !proc)
		return PYTHON_END_BROKEN;
	if (!walker->at)
		return PYTHON_END_COMPLETE;
	if (walker->cnt >= MAX_PYTHON_FRAMES)
		return PYTHON_END_TRUNCATED;
	if (!read_frame(walker, proc))
		return PYTHON_END_UNREADABLE;
	owner = *frame_byte(walker, proc->frame_owner);
	if (proc->chunk == PYTHON_CHUNK_SHIM && owner >= 3) {
		end_chunk(walker);
		walker->at = frame_word(walker, proc->frame_back);
		return GO_ON;
	}
	code = frame_word(walker, proc->frame_code) & proc->code_mask;
	known = remembered_code(walker, proc, code, space);
	if (!known) {
		end = read_code(walker, proc, code);
		if (end != GO_ON)
			return end;
		known = find_code(walker, proc, code, space);
		if (!known)
			return PYTHON_END_BROKEN;
	}
	unit = find_unit(walker, proc, code);
	if (!proc->code_first_unit || is_held(walker, proc) ||
	    (unit != PYTHON_NO_UNIT && unit >= known->first_unit)) {
		keep(walker, (__u64)known->id << PYTHON_CODE_SHIFT | unit);
		walker->in_chunk = true;
	}
	if (proc->chunk == PYTHON_CHUNK_EACH || (proc->chunk == PYTHON_CHUNK_ENTRY && owner == 1))
		end_chunk(walker);
	walker->at = frame_word(walker, proc->frame_back);
	return GO_ON;
}

/* Keeps the stack in the thread's scratch. Returns its id, or 0 (counted). */
static __noinline __u64 store(struct python_walker *walker)
{
	struct stack_hash hash = stack_hash_begin(hash_seed);
	struct python_stack *stored;
	__u64 id;
	int err;

	if (!walker)
		return 0;
	for (int i = 0; i < MAX_PYTHON_FRAMES; i++) {
		if (i >= walker->stack.frame_cnt)
			break;
		stack_hash_add(&hash, walker->stack.frame[i]);
	}
	stack_hash_end(&hash, walker->stack.end);
	id = hash.id;
	if (walker->last_id == id && walker->last_check == hash.check)
		return id;
	stored = bpf_map_lookup_elem(&python_stacks, &id);
	if (stored) {
		if (stored->check != hash.check) {
			count(STAT_STACK_COLLISIONS, 1);
			return 0;
		}
	} else {
		if (!has_room(walker->group, TABLE_PYTHON_STACKS)) {
			room_refused(walker->group, TABLE_PYTHON_STACKS);
			count(STAT_PYTHON_STACKS_LOST, 1);
			return 0;
		}
		walker->stack.check = hash.check;
		err = bpf_map_update_elem(&python_stacks, &id, &walker->stack, BPF_NOEXIST);
		if (!err)
			room_taken(walker->group, TABLE_PYTHON_STACKS);
		if (err && err != -EEXIST) { /* else another thread was faster */
			count(STAT_PYTHON_STACKS_LOST, 1);
			return 0;
		}
	}
	walker->last_id = id;
	walker->last_check = hash.check;
	return id;
}

__noinline __u64 python_capture(struct thread *thread)
{
	struct python_walker *walker;
	struct python_proc *proc;
	__u32 space;
	__u64 state;
	int end = GO_ON;

	if (!thread)
		return 0;
	space = thread->space;
	proc = bpf_map_lookup_elem(&python_procs, &space);
	if (!proc)
		return 0;
	state = find_thread_state(proc);
	if (!state)
		return 0;
	walker = bpf_task_storage_get(&python_walkers, bpf_get_current_task_btf(), 0,
				      BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!walker) {
		count(STAT_PYTHON_STACKS_LOST, 1);
		return 0;
	}
	walker->at = find_first_frame(proc, state);
	walker->cnt = 0;
	walker->group = thread->group;
	walker->in_chunk = false;
	walker->window_len = 0;
	for (int i = 0; i <= 2 * MAX_PYTHON_FRAMES && end == GO_ON; i++)
		end = python_step(walker, proc, space);
	if (end == GO_ON)
		end = PYTHON_END_TRUNCATED;
	if (end == PYTHON_END_BROKEN)
		count(STAT_PYTHON_STACKS_BROKEN, 1);
	else if (end == PYTHON_END_TRUNCATED)
		count(STAT_PYTHON_STACKS_TRUNCATED, 1);
	else if (end == PYTHON_END_UNREADABLE)
		count(STAT_PYTHON_STACKS_UNREADABLE, 1);
	if (!walker->cnt)
		return 0;
	walker->stack.frame_cnt = walker->cnt < MAX_PYTHON_FRAMES ? walker->cnt : MAX_PYTHON_FRAMES;
	walker->stack.end = end;
	count(STAT_PYTHON_FRAMES_WALKED, walker->cnt);
	return store(walker);
}
