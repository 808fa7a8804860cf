// SPDX-License-Identifier: GPL-2.0-or-later
// Every form of operator new and delete.
#include <new>

#include "tests/leakers/leaker.h"

static struct site sites[] = {
	{"leak_new", SITE_INSIDE, 0, 0, 0, 0, 0, 0},
	{"leak_new_array", SITE_INSIDE, 0, 0, 0, 0, 0, 0},
	{"leak_new_aligned", SITE_INSIDE, 0, 0, 0, 0, 0, 0},
	{"leak_new_nothrow", SITE_INSIDE, 0, 0, 0, 0, 0, 0},
};

struct alignas(128) wide {
	char bytes[384];
};

static void *kept[1000];

SITE_FN static void *leak_new(size_t bytes)
{
	return note_alloc(&sites[0], ::operator new(bytes), bytes);
}

SITE_FN static void *leak_new_array(size_t bytes)
{
	return note_alloc(&sites[1], new char[bytes], bytes);
}

SITE_FN static wide *leak_new_aligned()
{
	return static_cast<wide *>(note_alloc(&sites[2], new wide, sizeof(wide)));
}

SITE_FN static void *leak_new_nothrow(size_t bytes)
{
	return note_alloc(&sites[3], ::operator new(bytes, std::nothrow), bytes);
}

int main(int argc, char **argv)
{
	leaker__ready(argc, argv);
	for (size_t i = 0; i < 100; i++) {
		kept[i] = leak_new(i + 1);
		kept[100 + i] = leak_new_array(50 + i);
		kept[200 + i] = leak_new_aligned();
		kept[300 + i] = leak_new_nothrow(9 + i);
	}
	for (size_t i = 0; i < 30; i++) {
		note_free(&sites[0], i + 1);
		::operator delete(kept[i]);
		note_free(&sites[1], 50 + i);
		delete[] static_cast<char *>(kept[100 + i]);
		note_free(&sites[2], sizeof(wide));
		delete static_cast<wide *>(kept[200 + i]);
		note_free(&sites[3], 9 + i);
		::operator delete(kept[300 + i], 9 + i);
	}
	leaker__expect(sites, 4);
	leaker__done();
	return 0;
}
