// SPDX-License-Identifier: GPL-2.0-or-later
// Allocations where C++ makes stacks that C does not have. Built to be stripped: what is named is
// exported.
//   cxx_stacks exceptions   in handlers, in destructors that an exception runs, of the exception
//   cxx_stacks library      by containers, in virtual functions, behind std::function
//   cxx_stacks coroutines   in coroutines and of their frames
#include <coroutine>
#include <cstdlib>
#include <functional>
#include <pthread.h>
#include <vector>

#include "tests/leakers/whole_stacks.h"

#define ROUNDS 50
#define SITE(stack)                                                                                \
	{                                                                                          \
		stack, SITE_LEAF, 0, 0, 0, 0, 0, 0                                                 \
	}
// Parts of functions that the compiler has moved away have no exported names.
#define COLD(name) name "|" name "[ .]*|(unnamed)"

static struct site sites_of_exceptions[] = {
	SITE("take_handler < " COLD("handle") " < exceptions < main" BELOW_MAIN),
	SITE("take_destructor < guard::~guard() < " COLD("pass") " < handle < exceptions < "
								 "main" BELOW_MAIN),
	SITE("* < fail < pass < handle < exceptions < main" BELOW_MAIN),
	SITE("take_rethrown < " COLD("rethrow") " < exceptions < main" BELOW_MAIN),
	SITE("* < fail < rethrow < exceptions < main" BELOW_MAIN),
	SITE("take_handler < " COLD("handle") " < thread_main" BELOW_THREAD),
	SITE("take_destructor < guard::~guard() < " COLD("pass") " < handle < "
								 "thread_main" BELOW_THREAD),
	SITE("* < fail < pass < handle < thread_main" BELOW_THREAD),
};
enum { S_HANDLER, S_DESTRUCTOR, S_OBJECT, S_RETHROWN, S_OBJECT_2, S_THREAD };

static struct site sites_of_library[] = {
	SITE("*:operator new*|std::*|__gnu_cxx::*|void std::* < grow_vector < library < "
	     "main" BELOW_MAIN),
	SITE("take_virtual < square::area(unsigned long) < call_virtual < library < "
	     "main" BELOW_MAIN),
	SITE("take_function < *:std::*|*::_M_invoke*|bool std::*|void std::* < call_function < "
	     "library < main" BELOW_MAIN),
	SITE("* < make_new < library < main" BELOW_MAIN),
};
enum { S_VECTOR, S_VIRTUAL, S_FUNCTION, S_NEW };

static struct site sites_of_coroutines[] = {
	SITE("take_body < (unnamed)|count_up* < *:std::* < resume_it < coroutines < "
	     "main" BELOW_MAIN),
	SITE("take_frame < sequence::promise_type::operator new(unsigned long) < count_up* < "
	     "coroutines < main" BELOW_MAIN),
};
enum { S_BODY, S_FRAME };

// Blocks of threads go to sites of their own.
static thread_local size_t first_site;

extern "C" {
void *take_handler(size_t bytes);
void *take_destructor(size_t bytes);
void *take_rethrown(size_t bytes);
void *take_virtual(size_t bytes);
void *take_function(size_t bytes);
void *take_body(size_t bytes);
void *take_frame(size_t bytes);
void fail(size_t at);
void pass(size_t at);
void handle();
void rethrow();
void exceptions();
void *thread_main(void *);
void grow_vector();
struct shape;
void call_virtual(shape *, size_t bytes);
void call_function(const std::function<void *(size_t)> &, size_t bytes);
void make_new(size_t bytes);
void library();
void resume_it(std::coroutine_handle<>);
void coroutines();
}

#define TAKE(name, site)                                                                           \
	SITE_FN void *name(size_t bytes)                                                           \
	{                                                                                          \
		void *p = note_alloc(&(site), malloc(bytes), bytes);                               \
                                                                                                   \
		KEEP(p);                                                                           \
		return p;                                                                          \
	}

// ---- exceptions

struct failure {
	size_t at;
};

// What libstdc++ puts before the object (struct __cxa_refcounted_exception, unwind-cxx.h).
static const size_t failure_bytes = 128 + sizeof(failure);

TAKE(take_handler, sites_of_exceptions[first_site + S_HANDLER])
TAKE(take_destructor, sites_of_exceptions[first_site + S_DESTRUCTOR])
TAKE(take_rethrown, sites_of_exceptions[S_RETHROWN])

struct guard {
	SITE_FN ~guard();
};

guard::~guard()
{
	KEEP(take_destructor(48));
}

SITE_FN void fail(size_t at)
{
	throw failure{at};
}

SITE_FN void pass(size_t at)
{
	volatile char room[120];
	guard one;

	room[at % 120] = 1;
	fail(at);
	room[(at + 1) % 120] = room[at % 120];
}

// The exception lives until the handler ends.
static void note_failure(site *site)
{
	note_alloc(site, site, failure_bytes);
	note_free(site, failure_bytes);
}

SITE_FN void handle()
{
	for (size_t i = 0; i < ROUNDS; i++) {
		try {
			pass(i);
		} catch (const failure &caught) {
			LEAKER_CHECK(caught.at == i);
			KEEP(take_handler(64 + i));
		}
		note_failure(&sites_of_exceptions[first_site + S_OBJECT]);
	}
}

SITE_FN void rethrow()
{
	for (size_t i = 0; i < ROUNDS; i++) {
		try {
			try {
				fail(i);
			} catch (...) {
				throw;
			}
		} catch (const failure &caught) {
			KEEP(take_rethrown(80));
		}
		note_failure(&sites_of_exceptions[S_OBJECT_2]);
	}
}

SITE_FN void *thread_main(void *)
{
	first_site = S_THREAD;
	handle();
	return nullptr;
}

SITE_FN void exceptions()
{
	pthread_t threads[3];

	handle();
	rethrow();
	for (pthread_t &thread : threads)
		LEAKER_CHECK(!pthread_create(&thread, nullptr, thread_main, nullptr));
	for (pthread_t &thread : threads)
		LEAKER_CHECK(!pthread_join(thread, nullptr));
	leaker__stacks(sites_of_exceptions,
		       sizeof(sites_of_exceptions) / sizeof(sites_of_exceptions[0]));
	// Threads themselves.
	leaker__any_stacks("* < exceptions < main" BELOW_MAIN);
}

// ---- the library

TAKE(take_virtual, sites_of_library[S_VIRTUAL])
TAKE(take_function, sites_of_library[S_FUNCTION])

struct shape {
	virtual void *area(size_t bytes) = 0;

      protected:
	~shape() = default;
};

struct square final : shape {
	SITE_FN void *area(size_t bytes) override;
};

void *square::area(size_t bytes)
{
	void *p = take_virtual(bytes);

	KEEP(p);
	return p;
}

SITE_FN void grow_vector()
{
	std::vector<long> numbers;
	size_t room = 0;

	for (long i = 0; i < 1000; i++) {
		numbers.push_back(i);
		if (numbers.capacity() == room)
			continue;
		if (room)
			note_free(&sites_of_library[S_VECTOR], room * sizeof(long));
		room = numbers.capacity();
		note_alloc(&sites_of_library[S_VECTOR], numbers.data(), room * sizeof(long));
	}
	KEEP(numbers.data());
	note_free(&sites_of_library[S_VECTOR], room * sizeof(long));
}

SITE_FN void call_virtual(shape *shape, size_t bytes)
{
	KEEP(shape->area(bytes));
}

SITE_FN void call_function(const std::function<void *(size_t)> &function, size_t bytes)
{
	KEEP(function(bytes));
}

SITE_FN void make_new(size_t bytes)
{
	KEEP(note_alloc(&sites_of_library[S_NEW], ::operator new(bytes), bytes));
}

SITE_FN void library()
{
	square square;

	for (size_t i = 0; i < ROUNDS; i++) {
		grow_vector();
		call_virtual(&square, 30 + i);
		call_function(take_function, 40 + i);
		make_new(50 + i);
	}
	leaker__stacks(sites_of_library, sizeof(sites_of_library) / sizeof(sites_of_library[0]));
}

// ---- coroutines

TAKE(take_body, sites_of_coroutines[S_BODY])
TAKE(take_frame, sites_of_coroutines[S_FRAME])

struct sequence {
	struct promise_type {
		SITE_FN static void *operator new(size_t bytes);

		static void operator delete(void *p, size_t bytes)
		{
			note_free(&sites_of_coroutines[S_FRAME], bytes);
			free(p);
		}

		sequence get_return_object()
		{
			return {std::coroutine_handle<promise_type>::from_promise(*this)};
		}

		std::suspend_always initial_suspend() noexcept
		{
			return {};
		}

		std::suspend_always final_suspend() noexcept
		{
			return {};
		}

		void return_void()
		{
		}

		void unhandled_exception()
		{
			abort();
		}
	};

	std::coroutine_handle<promise_type> handle;
};

void *sequence::promise_type::operator new(size_t bytes)
{
	void *p = take_frame(bytes);

	KEEP(p);
	return p;
}

sequence count_up(size_t steps);

SITE_FN sequence count_up(size_t steps)
{
	for (size_t i = 0; i < steps; i++) {
		KEEP(take_body(20 + i));
		co_await std::suspend_always();
	}
}

SITE_FN void resume_it(std::coroutine_handle<> handle)
{
	handle.resume();
	KEEP(&handle);
}

SITE_FN void coroutines()
{
	for (size_t i = 0; i < ROUNDS; i++) {
		sequence numbers = count_up(10);

		while (!numbers.handle.done())
			resume_it(numbers.handle);
		numbers.handle.destroy();
	}
	leaker__stacks(sites_of_coroutines,
		       sizeof(sites_of_coroutines) / sizeof(sites_of_coroutines[0]));
}

int main(int argc, char **argv)
{
	const char *mode = leaker__arg(argc, argv, 1, "exceptions");

	leaker__ready(argc, argv);
	if (!strcmp(mode, "exceptions"))
		exceptions();
	if (!strcmp(mode, "library"))
		library();
	if (!strcmp(mode, "coroutines"))
		coroutines();
	leaker__done();
	return 0;
}
