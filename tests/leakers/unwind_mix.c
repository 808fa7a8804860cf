/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads of several processes on one CPU that get in each other's way as often as possible, each
 * in functions of its own: a frame that a walk has taken from another task is in a wrong stack.
 *
 *   unwind_mix [ROUNDS [PERIOD_US]]     each thread's rounds; of its timer signal
 *
 * Thread x allocates in take_x, 3 to 60 levels below run_x, which calls step_x_0, which calls
 * step_x_1, 2, 3, 0 and so on; and in tick_x, from a signal handler on top of all this. Some
 * threads never rest, some take naps, and one of each process, of real-time priority where that is
 * allowed, preempts all others when it wakes.
 *
 *   leaker -> test   MIX {json}     one line for each thread: its letter, how many levels there are
 *                                   ("own" from 0 levels on) and what it did at each, and in ticks:
 *                                   [alloc_bytes, alloc_count, free_bytes, free_count]
 */
#include <alloca.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/leakers/leaker.h"

#define PROCS 3
#define THREADS 8
#define MIN_LEVELS 3
#define MAX_LEVELS 60
#define KEPT 64		/* blocks that a thread has at a time */
#define SLOTS (1 << 14) /* more than all threads of a process can have */
#define SLOT_BYTES 256

/* ---- an allocator that a signal handler may call, also in the middle of itself --------------- */

static char slots[SLOTS][SLOT_BYTES] __attribute__((aligned(64)));
static unsigned char slot_used[SLOTS];
static unsigned int next_slot;

__attribute__((noinline)) void *malloc(size_t bytes)
{
	unsigned int i;

	if (bytes > SLOT_BYTES)
		return NULL;
	do {
		i = __atomic_fetch_add(&next_slot, 1, __ATOMIC_RELAXED) % SLOTS;
	} while (__atomic_exchange_n(&slot_used[i], 1, __ATOMIC_ACQUIRE));
	return slots[i];
}

__attribute__((noinline)) void free(void *p)
{
	size_t offset = (size_t)((char *)p - slots[0]);

	if (p && offset < sizeof(slots)) /* else the C library's own calloc made it */
		__atomic_store_n(&slot_used[offset / SLOT_BYTES], 0, __ATOMIC_RELEASE);
}

/* ---- threads --------------------------------------------------------------------------------- */

struct kept {
	void *p;
	struct site *site;
	size_t bytes;
};

struct set;
struct worker {
	const struct set *set;
	uint64_t random;
	unsigned int levels; /* of this round */
	struct site own[MAX_LEVELS + 1], ticks;
	struct kept kept[KEPT], ticks_kept[KEPT];
	pthread_t thread;
};

struct set {
	char letter;
	void (*run)(struct worker *worker);
	void *(*tick)(struct site *site, size_t bytes);
};

enum role { ROLE_BUSY, ROLE_NAPS, ROLE_PREEMPTS };

static struct worker workers[THREADS];
static __thread struct worker *self;
static long round_cnt, period_us;
static pthread_barrier_t begin, done, quit;

static inline __attribute__((always_inline)) unsigned int pick(struct worker *worker,
							       unsigned int cnt)
{
	worker->random ^= worker->random << 13;
	worker->random ^= worker->random >> 7;
	worker->random ^= worker->random << 17;
	return (unsigned int)(worker->random >> 20) % cnt;
}

/* Puts a block in the place of another, which is given back. */
static inline __attribute__((always_inline)) void keep(struct kept *kept, struct site *site,
						       void *p, size_t bytes)
{
	if (kept->p) {
		note_free(kept->site, kept->bytes);
		free(kept->p);
	}
	*kept = (struct kept){.p = p, .site = site, .bytes = bytes};
}

/* Some of these stacks are the thread's last one once more. */
#define TAKE(x)                                                                                    \
	SITE_FN static void take_##x(struct worker *worker)                                        \
	{                                                                                          \
		struct site *site = &worker->own[worker->levels];                                  \
		size_t bytes = 1 + worker->levels;                                                 \
                                                                                                   \
		for (unsigned int i = pick(worker, 3) + 1; i > 0; i--) {                           \
			void *p = note_alloc(site, malloc(bytes), bytes);                          \
                                                                                                   \
			keep(&worker->kept[pick(worker, KEPT)], site, p, bytes);                   \
		}                                                                                  \
	}

/* A frame of its own size; `here` are the bytes on top of what the compiler needs. */
#define STEP(x, name, next, here)                                                                  \
	SITE_FN static void name(struct worker *worker, unsigned int levels)                       \
	{                                                                                          \
		volatile char *room = alloca(here);                                                \
                                                                                                   \
		room[0] = 1;                                                                       \
		if (levels > 1)                                                                    \
			next(worker, levels - 1);                                                  \
		else                                                                               \
			take_##x(worker);                                                          \
		KEEP(room);                                                                        \
	}

#define SET(x)                                                                                     \
	TAKE(x)                                                                                    \
	SITE_FN static void step_##x##_0(struct worker *worker, unsigned int levels);              \
	STEP(x, step_##x##_3, step_##x##_0, 16 + levels % 5 * 32)                                  \
	STEP(x, step_##x##_2, step_##x##_3, 8 + (#x[0] - 'a') * 24)                                \
	STEP(x, step_##x##_1, step_##x##_2, 1 + (#x[0] - 'a') % 3 * 8)                             \
	STEP(x, step_##x##_0, step_##x##_1, 8 + (#x[0] - 'a') % 7 * 16)                            \
	SITE_FN static void run_##x(struct worker *worker)                                         \
	{                                                                                          \
		worker->levels = MIN_LEVELS + pick(worker, MAX_LEVELS - MIN_LEVELS + 1);           \
		step_##x##_0(worker, worker->levels);                                              \
		KEEP(worker);                                                                      \
	}                                                                                          \
	SITE_FN static void *tick_##x(struct site *site, size_t bytes)                             \
	{                                                                                          \
		void *p = note_alloc(site, malloc(bytes), bytes);                                  \
                                                                                                   \
		KEEP(p);                                                                           \
		return p;                                                                          \
	}

/* clang-format off */
#define SETS(SET) \
	SET(a) SET(b) SET(c) SET(d) SET(e) SET(f) SET(g) SET(h) \
	SET(i) SET(j) SET(k) SET(l) SET(m) SET(n) SET(o) SET(p) \
	SET(q) SET(r) SET(s) SET(t) SET(u) SET(v) SET(w) SET(x)
/* clang-format on */

SETS(SET)

static const struct set sets[PROCS * THREADS] = {
#define ENTRY(x) {.letter = #x[0], .run = run_##x, .tick = tick_##x},
	SETS(ENTRY)
#undef ENTRY
};

static void on_tick(int sig)
{
	int saved_errno = errno;
	struct worker *worker = self;
	size_t bytes = 100 + (size_t)(worker->set->letter - 'a');
	void *p = worker->set->tick(&worker->ticks, bytes);

	(void)sig;
	keep(&worker->ticks_kept[worker->ticks.alloc_count % KEPT], &worker->ticks, p, bytes);
	errno = saved_errno;
}

/* A timer whose signal goes to this thread. Not by the C library, which would allocate. */
static int start_timer(void)
{
	struct itimerspec every = {.it_interval.tv_nsec = period_us * 1000,
				   .it_value.tv_nsec = period_us * 1000};
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM};
	int timer = -1;

	event._sigev_un._tid = (int)syscall(SYS_gettid);
	LEAKER_CHECK(!syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer));
	LEAKER_CHECK(!syscall(SYS_timer_settime, timer, 0, &every, NULL));
	return timer;
}

/* After this no handler runs any more in this thread. */
static void stop_timer(int timer)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGALRM);
	LEAKER_CHECK(!pthread_sigmask(SIG_BLOCK, &signals, NULL));
	LEAKER_CHECK(!syscall(SYS_timer_delete, timer));
}

static inline __attribute__((always_inline)) void rest(struct worker *worker, enum role role)
{
	struct timespec nap = {.tv_nsec = 20000 + pick(worker, 400) * 1000};

	if (role == ROLE_PREEMPTS || (role == ROLE_NAPS && pick(worker, 3) == 0))
		nanosleep(&nap, NULL);
	else if (pick(worker, 4) == 0)
		sched_yield();
}

static enum role role_of(const struct worker *worker)
{
	size_t index = (size_t)(worker - workers);

	return index == 0 ? ROLE_PREEMPTS : index < 3 ? ROLE_NAPS : ROLE_BUSY;
}

/* The work of a thread. All that it allocates is below or above this function. */
SITE_FN static void work(struct worker *worker)
{
	enum role role = role_of(worker);
	int timer = start_timer();

	for (long i = role == ROLE_PREEMPTS ? round_cnt / 2 : round_cnt; i > 0; i--) {
		worker->set->run(worker);
		rest(worker, role);
	}
	stop_timer(timer);
}

static void *thread_main(void *arg)
{
	const struct sched_param priority = {.sched_priority = 1};

	self = arg;
	if (role_of(self) == ROLE_PREEMPTS) /* where it is forbidden, naps must do */
		syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &priority);
	pthread_barrier_wait(&begin);
	work(self);
	pthread_barrier_wait(&done);
	pthread_barrier_wait(&quit);
	return NULL;
}

/* ---- processes ------------------------------------------------------------------------------- */

static void add_numbers(const struct site *site)
{
	leaker__add("[%lld,%lld,%lld,%lld]", site->alloc_bytes, site->alloc_count, site->free_bytes,
		    site->free_count);
}

static void tell(const struct worker *worker)
{
	leaker__add("MIX {\"pid\":%d,\"thread\":\"%c\",\"own\":[", (int)getpid(),
		    worker->set->letter);
	for (size_t i = 0; i <= MAX_LEVELS; i++) {
		leaker__add("%s", i ? "," : "");
		add_numbers(&worker->own[i]);
	}
	leaker__add("],\"ticks\":");
	add_numbers(&worker->ticks);
	leaker__add("}\n");
	leaker__flush();
}

static void start_threads(size_t proc)
{
	for (size_t i = 0; i < THREADS; i++) {
		workers[i].set = &sets[proc * THREADS + i];
		workers[i].random = 88172645463325252ULL * (proc * THREADS + i + 1);
		LEAKER_CHECK(!pthread_create(&workers[i].thread, NULL, thread_main, &workers[i]));
	}
	pthread_barrier_wait(&begin);
	pthread_barrier_wait(&done);
}

static void stay_on_one_cpu(void)
{
	cpu_set_t all, one;
	size_t cpu = 0;

	LEAKER_CHECK(!sched_getaffinity(0, sizeof(all), &all));
	while (!CPU_ISSET(cpu, &all))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	LEAKER_CHECK(!sched_setaffinity(0, sizeof(one), &one));
}

/* A child's life, to the end of its parent. */
static void be_child(size_t proc, int done_fd, int hold_fd)
{
	char c;

	start_threads(proc);
	for (size_t i = 0; i < THREADS; i++)
		tell(&workers[i]);
	LEAKER_CHECK(write(done_fd, "d", 1) == 1);
	while (read(hold_fd, &c, 1) < 0 && errno == EINTR)
		;
	_exit(0);
}

static void run_all(void)
{
	int told[2], hold[2];
	char c;

	LEAKER_CHECK(!pipe(told) && !pipe(hold));
	for (size_t i = 1; i < PROCS; i++) {
		pid_t pid = fork();

		LEAKER_CHECK(pid >= 0);
		if (!pid) {
			close(hold[1]);
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			be_child(i, told[1], hold[0]);
		}
	}
	start_threads(0);
	for (size_t i = 1; i < PROCS; i++)
		LEAKER_CHECK(read(told[0], &c, 1) == 1);
	for (size_t i = 0; i < THREADS; i++)
		tell(&workers[i]);
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};

	round_cnt = atol(leaker__arg(argc, argv, 1, "1000"));
	period_us = atol(leaker__arg(argc, argv, 2, "700"));
	LEAKER_CHECK(period_us > 0 && period_us < 1000000);
	LEAKER_CHECK(!sigaction(SIGALRM, &action, NULL));
	pthread_barrier_init(&begin, NULL, THREADS + 1);
	pthread_barrier_init(&done, NULL, THREADS + 1);
	pthread_barrier_init(&quit, NULL, THREADS + 1);
	leaker__ready(argc, argv);
	stay_on_one_cpu();
	run_all();
	leaker__done();
	_exit(0); /* the threads' own blocks stay as they are */
}
