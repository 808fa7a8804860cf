/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every counter of the kernel side: STAT(symbol, name in the JSON report, class, what it means, what helps).
 * Class WORK counts effort; LOSS counts what a report therefore lacks or cannot tell.
 */
#ifndef LEAKSWEEP_STATS_H
#define LEAKSWEEP_STATS_H

#define STATS(STAT)                                                                                                  \
	STAT(HITS_ALLOC, "hits_alloc", WORK, "allocation calls seen", "")                                           \
	STAT(HITS_RETURN, "hits_return", WORK, "allocation returns seen", "")                                       \
	STAT(HITS_FREE, "hits_free", WORK, "free calls seen", "")                                                   \
	STAT(HITS_SYSCALL, "hits_syscall", WORK, "memory system calls seen", "")                                    \
	STAT(HITS_FOREIGN, "hits_foreign", WORK, "probe hits in processes that are not traced",                     \
	     "--scope process")                                                                                     \
	STAT(HITS_STEPPED, "hits_stepped", WORK, "hits of probes that cost a second trap", "") \
	STAT(HITS_TOUCH, "hits_touch", WORK, "page faults, page allocations and system calls of the whole host seen for first touches", "") \
	STAT(BLOCKS_ADDED, "blocks_added", WORK, "entries put into the block table", "")                            \
	STAT(BLOCKS_REMOVED, "blocks_removed", WORK, "entries taken from the block table", "")                      \
	STAT(NESTED_ALLOCS, "nested_allocs", WORK, "allocations inside another probed call, counted once there", "") \
	STAT(FAILED_ALLOCS, "failed_allocs", WORK, "allocation calls that returned no memory", "")                  \
	STAT(STACKS_REUSED, "stacks_reused", WORK, "stacks equal to the thread's last one, proved word by word", "") \
	STAT(STACKS_WALKED, "stacks_walked", WORK, "stacks walked", "")                                             \
	STAT(FRAMES_WALKED, "frames_walked", WORK, "their frames", "")                                              \
	STAT(RULES_LOOKED_UP, "rules_looked_up", WORK, "frames whose rule the thread did not know yet", "")         \
	STAT(STACKS_DEFERRED, "stacks_deferred", WORK, "stacks that waited for an unwind table", "")                \
	STAT(HITS_OBJECT, "hits_object", WORK, "Python objects seen to be made", "")                                \
	STAT(HITS_OBJECT_FREE, "hits_object_free", WORK, "Python objects seen to be freed", "")                     \
	STAT(OBJECTS_REUSED, "objects_reused", WORK, "Python blocks that were given out again; frees are not watched", "") \
	STAT(POOLS_UNREADABLE, "pools_unreadable", WORK, "Python pools that could not be read for a moment", "")     \
	STAT(PYTHON_FRAMES_WALKED, "python_frames_walked", WORK, "Python frames walked", "")                        \
	STAT(MAP_FULL, "map_full", LOSS, "blocks not followed: the block table is full", "--max-blocks")            \
	STAT(MAP_FULL_BYTES, "map_full_bytes", LOSS, "bytes of those blocks", "--max-blocks")                       \
	STAT(SHARE_FULL, "share_full", LOSS, "blocks not followed: their control group had its share of the block table", \
	     "--max-blocks")                                                                                        \
	STAT(SHARE_FULL_BYTES, "share_full_bytes", LOSS, "bytes of those blocks", "--max-blocks")                   \
	STAT(STACKS_LOST, "stacks_lost", LOSS, "blocks counted without their stack: the stack table, or their group's share of it, is full", \
	     "--max-stacks")                                                                                        \
	STAT(STACK_COLLISIONS, "stack_collisions", LOSS, "blocks counted without their stack: two stacks share an id", \
	     "")                                                                                                    \
	STAT(STACKS_TRUNCATED, "stacks_truncated", LOSS, "stacks deeper than can be kept", "")                      \
	STAT(STACKS_BROKEN, "stacks_broken", LOSS, "stacks cut at an impossible frame", "")                         \
	STAT(STACKS_NO_TABLE, "stacks_no_table", LOSS, "stacks cut at code whose unwind table was not loaded yet",  \
	     "--unwind-memory")                                                                                     \
	STAT(STACKS_NO_RULE, "stacks_no_rule", LOSS, "stacks cut at code without unwind information", "")           \
	STAT(STACKS_ODD_RULE, "stacks_odd_rule", LOSS, "stacks cut at code whose unwind rule is not supported", "") \
	STAT(STACKS_UNREADABLE, "stacks_unreadable", LOSS, "stacks cut where their memory could not be read", "")   \
	STAT(STACKS_NO_CODE, "stacks_no_code", LOSS, "stacks cut at a return address outside of code", "")          \
	STAT(PYTHON_STACKS_LOST, "python_stacks_lost", LOSS, "stacks without their Python frames: the table is full", \
	     "--max-stacks")                                                                                        \
	STAT(PYTHON_STACKS_BROKEN, "python_stacks_broken", LOSS, "Python stacks cut at something that is no frame", "") \
	STAT(PYTHON_STACKS_TRUNCATED, "python_stacks_truncated", LOSS, "Python stacks deeper than can be kept", "") \
	STAT(PYTHON_STACKS_UNREADABLE, "python_stacks_unreadable", LOSS, "Python stacks cut where memory could not be read", "") \
	STAT(CODES_LOST, "codes_lost", LOSS, "Python functions seen without their names: the ring buffer was full", \
	     "--ring-size")                                                                                         \
	STAT(OBJECTS_UNKNOWN, "objects_unknown", LOSS, "frees of Python blocks never seen (older than the trace, or lost)", "") \
	STAT(OBJECTS_UNSIZED, "objects_unsized", LOSS, "Python blocks outside of any pool", "")                     \
	STAT(FAILURES_LOST, "failures_lost", LOSS, "failed allocations not told: the table is full", "")           \
	STAT(UNKNOWN_FREES, "unknown_frees", LOSS, "frees of blocks never seen (older than the trace, or lost)", "") \
	STAT(REPLACED, "replaced", LOSS, "blocks whose free was not seen before their address came back", "")       \
	STAT(REPLACED_BYTES, "replaced_bytes", LOSS, "bytes of those blocks", "")                                   \
	STAT(RETURNS_LOST, "returns_lost", LOSS, "allocation calls that never returned (longjmp, killed)", "")      \
	STAT(RETURNS_UNMATCHED, "returns_unmatched", LOSS, "allocation returns without their call", "")             \
	STAT(PENDING_FULL, "pending_full", LOSS, "allocation calls nested too deep to follow", "")                  \
	STAT(THREADS_LOST, "threads_lost", LOSS, "probe hits dropped: no memory for the thread's state", "")        \
	STAT(COSTS_FULL, "costs_full", LOSS, "blocks not followed: the table of sums is full", "--max-stacks")      \
	STAT(OUT_UNREADABLE, "out_unreadable", LOSS, "blocks whose address could not be read back", "")             \
	STAT(PROGRAMS_SKIPPED, "programs_skipped", LOSS, "events not seen: another task was preempted while it saw one", "") \
	STAT(EVENTS_LOST, "events_lost", LOSS, "events dropped: the ring buffer was full", "--ring-size")           \
	STAT(SPACES_FULL, "spaces_full", LOSS, "processes not followed: too many at once", "--max-procs")

enum stat_id {
#define STAT(symbol, name, class, meaning, cure) STAT_##symbol,
	STATS(STAT)
#undef STAT
	STAT_MAX
};

#endif
