// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Stacks that are hard to unwind, made at random on several threads until the program is killed:
 * exceptions thrown and caught at any depth, cleanups that allocate, virtual and C callbacks, frames
 * of variable size, realigned and huge frames, calls that never return, destructors at thread end,
 * and signal handlers (timer, fault, raised; on the own and on an alternate stack, nested) that
 * allocate on top of whatever they interrupt: prologues, PLT entries, libm, memcpy, the vdso.
 *
 *   unwind_threads [THREADS]
 *
 * A handler allocates only when it has interrupted code that is not in an allocator, as glibc
 * demands: `computing` says so.
 */
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include <new>
#include <regex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <alloca.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#ifdef __clang__
#define NOINLINE __attribute__((noinline))
#else
#define NOINLINE __attribute__((noipa))
#endif

namespace
{

struct state {
	unsigned long random = 88172645463325252UL;
	volatile sig_atomic_t computing = 0;
	volatile sig_atomic_t in_handler = 0;
	char *fault_page = nullptr;
	size_t page_bytes = 0;
	jmp_buf out = {};
};

thread_local state self;
thread_local void *volatile kept;
volatile double sink;

unsigned int pick(unsigned int cnt)
{
	self.random ^= self.random << 13;
	self.random ^= self.random >> 7;
	self.random ^= self.random << 17;
	return (unsigned int)(self.random >> 11) % cnt;
}

/* Allocates in one of the ways of C and C++, and gives back. */
NOINLINE void allocate(unsigned int kind)
{
	size_t bytes = 16 + kind * 24;

	switch (kind % 6) {
	case 0:
		kept = malloc(bytes);
		free(kept);
		break;
	case 1:
		kept = calloc(2, bytes);
		kept = realloc(kept, bytes * 4);
		free(kept);
		break;
	case 2: {
		auto *p = new char[bytes];

		kept = p;
		delete[] p;
		break;
	}
	case 3: {
		void *p = nullptr;

		if (!posix_memalign(&p, 64, bytes))
			free(p);
		break;
	}
	case 4:
		kept = strdup("a string that somebody keeps for a while");
		free(kept);
		break;
	default: {
		std::string s(bytes, 'x');

		s += "more than fits";
		kept = &s[0];
	}
	}
}

/* ---- code that signals interrupt: it allocates nothing ---- */

NOINLINE double leaf(double x)
{
	return x * 1.000001 + 0.5;
}

NOINLINE double with_prologue(double x, int depth)
{
	volatile double local[6] = {x, x + 1, x + 2, x + 3, x + 4, x + 5};
	double sum = 0;

	for (double value : local)
		sum += leaf(value);
	return depth > 0 ? sum + with_prologue(sum * 0.1, depth - 1) + x : sum;
}

NOINLINE double variable_frame(size_t bytes)
{
	auto *area = static_cast<volatile char *>(alloca(bytes));

	area[0] = 1;
	area[bytes - 1] = 2;
	return with_prologue(area[0] + area[bytes - 1], 2);
}

NOINLINE double realigned_frame(double x)
{
	alignas(64) volatile double block[16];

	for (auto &value : block)
		value = x;
	return with_prologue(block[3], 1) + block[15];
}

NOINLINE void compute()
{
	char a[512], b[512];
	double x = 1.5;

	memset(a, 1, sizeof(a));
	for (int i = 0; i < 60; i++) {
		struct timespec now;

		x += with_prologue(x, i % 4) * 1e-9;
		x = std::fmod(std::sin(x) + std::pow(2.0, x - std::floor(x)), 3.0) + 1;
		x += variable_frame(16 + (size_t)i * 8) * 1e-9;
		x += realigned_frame(x) * 1e-9;
		memcpy(b, a, sizeof(b) - (size_t)i);
		a[i] = (char)(strlen("interrupted") + (unsigned char)b[i]);
		clock_gettime(CLOCK_MONOTONIC, &now);
		x += (double)now.tv_nsec * 1e-18;
	}
	sink = x;
}

NOINLINE void touch_fault_page()
{
	mprotect(self.fault_page, self.page_bytes, PROT_NONE);
	*static_cast<volatile char *>(self.fault_page) = 1;
}

/* Signals may come in the middle of it and allocate. */
NOINLINE void compute_with_signals(unsigned int kind)
{
	self.computing = 1;
	if (kind % 8 == 0)
		touch_fault_page();
	else if (kind % 8 == 1)
		raise(SIGUSR1);
	else
		compute();
	self.computing = 0;
}

NOINLINE void handle_deeper(int depth)
{
	if (depth > 0)
		handle_deeper(depth - 1);
	else
		allocate(pick(6));
	sink = depth;
}

void on_signal(int number)
{
	int saved = errno;

	if (self.computing && self.in_handler < 2) {
		self.computing = 0;
		self.in_handler = self.in_handler + 1;
		for (int i = 0; i < 6; i++)
			handle_deeper((int)pick(4));
		try {
			if (pick(4) == 0)
				throw std::runtime_error("out of a handler's own depth");
		} catch (const std::exception &e) {
			allocate((unsigned int)strlen(e.what()));
		}
		self.computing = 1;
		if (number != SIGUSR2 && pick(3) == 0)
			raise(SIGUSR2);
		self.in_handler = self.in_handler - 1;
	}
	errno = saved;
}

void on_fault(int number, siginfo_t *info, void *)
{
	char *at = static_cast<char *>(info->si_addr);

	/* A debugger may send it again, without the address. */
	if (info->si_code > 0 &&
	    (at < self.fault_page || at >= self.fault_page + self.page_bytes))
		_exit(4);
	on_signal(number);
	/* A page that cannot be touched again next time. */
	mprotect(self.fault_page, self.page_bytes, PROT_READ | PROT_WRITE);
}

/* ---- what the threads do ---- */

void step(int depth);

class allocates_at_end
{
    public:
	explicit allocates_at_end(unsigned int kind) : kind(kind) {}
	~allocates_at_end() { allocate(kind); }

    private:
	unsigned int kind;
};

struct problem : std::runtime_error {
	problem(const std::string &what, int level) : std::runtime_error(what), level(level) {}
	int level;
};

[[noreturn]] NOINLINE void throw_problem(int level)
{
	allocate(pick(6));
	throw problem("level " + std::to_string(level), level);
}

/* The call is the function's last instruction: the return address is already another's. */
[[noreturn]] NOINLINE void ends_in_a_call(int level)
{
	allocates_at_end end(pick(6));

	throw_problem(level);
}

[[noreturn]] NOINLINE void jump_out()
{
	allocate(pick(6));
	longjmp(self.out, 1);
}

struct shape {
	virtual ~shape() = default;
	virtual void draw(int depth) = 0;
};

struct square : shape {
	void draw(int depth) override { step(depth); }
};

struct circle : shape {
	void draw(int depth) override
	{
		allocates_at_end end(pick(6));

		step(depth);
		if (pick(3) == 0)
			throw_problem(depth);
	}
};

NOINLINE void by_virtual(int depth)
{
	std::unique_ptr<shape> one;

	if (pick(2))
		one = std::make_unique<square>();
	else
		one = std::make_unique<circle>();
	one->draw(depth);
}

NOINLINE void by_exception(int depth)
{
	try {
		allocates_at_end end(pick(6));

		step(depth);
		ends_in_a_call(depth);
	} catch (const problem &caught) {
		allocate((unsigned int)caught.level);
		step(depth);
	}
}

NOINLINE void by_nested_exception(int depth)
{
	std::exception_ptr saved;

	try {
		try {
			throw_problem(depth);
		} catch (...) {
			step(depth);
			std::throw_with_nested(std::logic_error("outer"));
		}
	} catch (...) {
		saved = std::current_exception();
	}
	try {
		std::rethrow_exception(saved);
	} catch (const std::exception &) {
		step(depth);
	}
}

int compare(const void *, const void *)
{
	allocate(pick(6));
	return (int)pick(3) - 1;
}

NOINLINE void by_c_callback(int depth)
{
	int numbers[12] = {4, 2, 7, 1};

	qsort(numbers, sizeof(numbers) / sizeof(numbers[0]), sizeof(numbers[0]), compare);
	step(depth);
}

NOINLINE void by_function(int depth)
{
	std::string name = "captured so that it needs memory " + std::to_string(depth);
	std::function<void(int)> call = [name](int below) { step(below); };

	call(depth);
	std::vector<std::string> words{name, "b", "another that is not short at all", "c"};
	std::sort(words.begin(), words.end(), [](const std::string &a, const std::string &b) {
		return a + "x" < b + "y";
	});
}

NOINLINE void by_huge_frame(int depth)
{
	volatile char area[100000];

	area[0] = area[sizeof(area) - 1] = (char)depth;
	step(depth);
	sink = area[0];
}

NOINLINE void by_variable_frame(int depth)
{
	size_t bytes = 32 + pick(2000);
	auto *area = static_cast<volatile char *>(alloca(bytes));

	area[bytes - 1] = 1;
	step(depth);
	sink = area[bytes - 1];
}

NOINLINE void by_realigned_frame(int depth)
{
	alignas(128) volatile char area[256];
	auto *more = static_cast<volatile char *>(alloca(16 + pick(64)));

	area[0] = more[0] = 1;
	step(depth);
	sink = area[0];
}

NOINLINE void by_jump(int)
{
	if (setjmp(self.out) == 0)
		jump_out();
	allocate(pick(6));
}

NOINLINE void by_regex(int depth)
{
	if (pick(8))
		return;
	static const std::regex words("([a-z]+)=([0-9]+)(;|$)");
	std::string text = "alpha=1;beta=22;gamma=" + std::to_string(depth);
	std::smatch match;

	while (std::regex_search(text, match, words))
		text = match.suffix();
}

thread_local std::unique_ptr<allocates_at_end> at_thread_end;

NOINLINE void by_short_thread(int depth)
{
	if (depth < 6 || pick(50))
		return;
	std::thread([] {
		self.random += (unsigned long)clock();
		at_thread_end = std::make_unique<allocates_at_end>(1);
		allocate(pick(6));
	}).join();
}

NOINLINE void by_once(int depth)
{
	std::once_flag flag;

	std::call_once(flag, [depth] { step(depth); });
}

/* One random thing, `depth` more of them below it at most. */
NOINLINE void step(int depth)
{
	static void (*const ways[])(int) = {
		by_virtual,	by_exception,	   by_nested_exception, by_c_callback,
		by_function,	by_huge_frame,	   by_variable_frame,	by_realigned_frame,
		by_jump,	by_regex,	   by_short_thread,	by_once,
	};

	allocate(pick(6));
	if (depth == 0 || pick(3) == 0)
		compute_with_signals(pick(64));
	if (depth > 0)
		ways[pick(sizeof(ways) / sizeof(ways[0]))](depth - 1);
}

void begin_thread(unsigned int id, bool alternate_stack)
{
	stack_t stack = {};

	self.random += id * 7919UL;
	self.page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	self.fault_page = static_cast<char *>(mmap(nullptr, self.page_bytes, PROT_READ | PROT_WRITE,
						   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	if (self.fault_page == MAP_FAILED)
		abort();
	stack.ss_size = 256 << 10;
	stack.ss_sp = mmap(nullptr, stack.ss_size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (alternate_stack && sigaltstack(&stack, nullptr))
		abort();
}

void run(unsigned int id)
{
	begin_thread(id, id % 2);
	for (;;) {
		try {
			step(7);
		} catch (const problem &caught) {
			allocate((unsigned int)caught.level);
		}
	}
}

void handle(int number, void (*handler)(int))
{
	struct sigaction action = {};

	action.sa_handler = handler;
	action.sa_flags = SA_RESTART | SA_ONSTACK;
	if (sigaction(number, &action, nullptr))
		abort();
}

} // namespace

int main(int argc, char **argv)
{
	unsigned int cnt = argc > 1 ? (unsigned int)atoi(argv[1]) : 3;
	struct itimerval every = {};
	struct sigaction fault = {};
	std::vector<std::thread> threads;

	handle(SIGPROF, on_signal);
	handle(SIGUSR1, on_signal);
	handle(SIGUSR2, on_signal);
	fault.sa_sigaction = on_fault;
	fault.sa_flags = SA_SIGINFO | SA_ONSTACK;
	if (sigaction(SIGSEGV, &fault, nullptr))
		abort();
	every.it_interval.tv_usec = every.it_value.tv_usec = 500;
	if (setitimer(ITIMER_PROF, &every, nullptr))
		abort();
	for (unsigned int i = 1; i < cnt; i++)
		threads.emplace_back(run, i);
	printf("READY %d\n", (int)getpid());
	fflush(stdout);
	run(0);
}
