# SPDX-License-Identifier: GPL-2.0-or-later
# Whole stacks of real programs beside gdb's. The program of its own is built as distributions build: no frame pointers.

UNWIND_THREADS := $(OUTPUT)/unwind/threads
UNWIND_CXX ?= g++

$(UNWIND_THREADS): tests/leakers/unwind_threads.cc tests/unwind/unwind.mk
	$(call msg,LEAKER,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(UNWIND_CXX) -std=gnu++17 -Wall -Wextra -Werror -g -O2 -fomit-frame-pointer -pthread -Wl,-z,lazy -o $@ $<

# A test of it is among the end-to-end tests.
e2e: $(UNWIND_THREADS)

.PHONY: unwind-check
unwind-check: all $(UNWIND_THREADS) ## our stacks beside gdb's in six programs (root, minutes); ARGS="--stops 50 perl"
	$(Q)OUTPUT=$(OUTPUT) tests/unwind/compare.sh $(ARGS)
