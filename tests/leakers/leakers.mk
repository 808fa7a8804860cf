# SPDX-License-Identifier: GPL-2.0-or-later
# Programs with a known truth. Their flags are their own: frame pointers, no tail calls, no builtin malloc, no sanitizers.

LEAKER_DIR := $(OUTPUT)/leakers
LEAKER_FLAGS := -Wall -Wextra -Werror -Wno-missing-field-initializers -g -O1 -fno-omit-frame-pointer -fno-optimize-sibling-calls -fno-builtin -pthread $(addprefix --sysroot=,$(SYSROOT)) -I.
LEAKER_CFLAGS := -std=gnu17 -D_GNU_SOURCE $(LEAKER_FLAGS)
LEAKER_CXX ?= g++
MUSL_GCC := $(shell command -v musl-gcc 2>/dev/null)
LEAKER_HEADERS := $(wildcard tests/leakers/*.h) tests/leakers/leakers.mk

# Their stacks are told, too: see the end of this file.
STACK_LEAKERS := unwind_mix chain chain-static chain-static-pie chain-no-pie chain-cet chain-lazy chain-static-cet \
	odd_frames odd_frames-static interrupted interrupted-lazy interrupted-static memo plug_loop stacks_tree \
	cxx_stacks libalpha.so libgamma.so libshifted.so early libearly.so \
	$(if $(MUSL_GCC),$(addsuffix -musl,chain odd_frames interrupted) $(addsuffix -musl-static,chain interrupted)) \
	$(if $(filter x86_64,$(ARCH)),jit)

LEAKER_NAMES := alloc threads many bounds grower tree maps refused retained signals signals-malloc jemalloc_x plugin demo_service service \
	new_delete libsecond.so libownmalloc.so libcount.so libnomemory.so alloc-static alloc-static-pie \
	$(if $(MUSL_GCC),alloc-musl alloc-musl-static) $(if $(filter x86_64,$(ARCH)),tiny32) $(STACK_LEAKERS)
LEAKERS := $(addprefix $(LEAKER_DIR)/,$(LEAKER_NAMES))

.PHONY: leakers
leakers: $(LEAKERS)

leaker_rule = $(call msg,LEAKER,$@)mkdir -p $(@D) && $(1) -o $@ $<

$(LEAKER_DIR)/%: tests/leakers/%.c $(LEAKER_HEADERS)
	$(Q)$(call leaker_rule,$(CC) $(LEAKER_CFLAGS))

$(LEAKER_DIR)/signals-malloc: tests/leakers/signals.c $(LEAKER_HEADERS)
	$(Q)$(call leaker_rule,$(CC) $(LEAKER_CFLAGS) -DALLOC_NAME=malloc -DFREE_NAME=free)

$(LEAKER_DIR)/new_delete: tests/leakers/new_delete.cc $(LEAKER_HEADERS)
	$(Q)$(call leaker_rule,$(LEAKER_CXX) -std=gnu++17 $(LEAKER_FLAGS))

$(LEAKER_DIR)/libsecond.so: tests/leakers/lib_second.c $(LEAKER_HEADERS)
	$(Q)$(call leaker_rule,$(CC) $(LEAKER_CFLAGS) -fPIC -shared)

$(LEAKER_DIR)/libownmalloc.so: tests/leakers/lib_second.c $(LEAKER_HEADERS)
	$(Q)$(call leaker_rule,$(CC) $(LEAKER_CFLAGS) -fPIC -shared -DOWN_MALLOC)

$(LEAKER_DIR)/libcount.so: tests/leakers/count_preload.c $(LEAKER_HEADERS)
	$(Q)$(call leaker_rule,$(CC) $(LEAKER_CFLAGS) -fPIC -shared)

$(LEAKER_DIR)/libnomemory.so: tests/leakers/no_memory_preload.c $(LEAKER_HEADERS)
	$(Q)$(call leaker_rule,$(CC) $(LEAKER_CFLAGS) -fPIC -shared)

$(LEAKER_DIR)/alloc-static: tests/leakers/alloc.c $(LEAKER_HEADERS)
	$(Q)$(call leaker_rule,$(CC) $(LEAKER_CFLAGS) -static)

$(LEAKER_DIR)/alloc-static-pie: tests/leakers/alloc.c $(LEAKER_HEADERS)
	$(Q)$(call leaker_rule,$(CC) $(LEAKER_CFLAGS) -fPIE -static-pie)

$(LEAKER_DIR)/alloc-musl: tests/leakers/alloc.c $(LEAKER_HEADERS)
	$(Q)$(call leaker_rule,$(MUSL_GCC) $(LEAKER_CFLAGS))

$(LEAKER_DIR)/alloc-musl-static: tests/leakers/alloc.c $(LEAKER_HEADERS)
	$(Q)$(call leaker_rule,$(MUSL_GCC) $(LEAKER_CFLAGS) -static)

$(LEAKER_DIR)/tiny32: tests/leakers/tiny32.S tests/leakers/leakers.mk
	$(Q)$(call leaker_rule,$(CC) -m32 -nostdlib -static -no-pie)

# Whole stacks: optimised as programs are, nothing that helps to find a caller.
STACK_FLAGS := $(filter-out -O1 -fno-omit-frame-pointer,$(LEAKER_FLAGS)) -O2 -fomit-frame-pointer
STACK_CFLAGS := -std=gnu17 -D_GNU_SOURCE $(STACK_FLAGS)
define stack_leaker_rule
$(LEAKER_DIR)/$(1): tests/leakers/$(2) $(LEAKER_HEADERS)
	$$(Q)$$(call leaker_rule,$(or $(4),$(CC)) $(STACK_CFLAGS) $(3))
endef
stack_leaker = $(eval $(call stack_leaker_rule,$(1),$(2),$(3),$(4)))

$(call stack_leaker,chain,chain.c)
$(call stack_leaker,chain-static,chain.c,-static -DSTATIC_LIBC)
$(call stack_leaker,chain-static-pie,chain.c,-fPIE -static-pie -DSTATIC_LIBC)
$(call stack_leaker,chain-no-pie,chain.c,-fno-pie -no-pie)
$(call stack_leaker,chain-cet,chain.c,-fcf-protection=full -z lazy -z ibtplt)
$(call stack_leaker,chain-static-cet,chain.c,-fcf-protection=full -static -DSTATIC_LIBC)
$(call stack_leaker,chain-lazy,chain.c,-z lazy)
$(call stack_leaker,odd_frames,odd_frames.c)
$(call stack_leaker,odd_frames-static,odd_frames.c,-static -DSTATIC_LIBC)
$(call stack_leaker,interrupted,interrupted.c)
$(call stack_leaker,interrupted-lazy,interrupted.c,-fcf-protection=full -z lazy -z ibtplt)
$(call stack_leaker,interrupted-static,interrupted.c,-static -DSTATIC_LIBC -DODD_LIBC)
$(call stack_leaker,memo,memo.c)
$(call stack_leaker,unwind_mix,unwind_mix.c,-z now)
$(call stack_leaker,plug_loop,plug_loop.c)
$(call stack_leaker,stacks_tree,stacks_tree.c)
$(call stack_leaker,jit,jit.c)
$(call stack_leaker,libalpha.so,lib_plug.c,-fPIC -shared -DPLUG=alpha -DROOM=32)
$(call stack_leaker,libgamma.so,lib_plug.c,-fPIC -shared -DPLUG=gamma -DROOM=48)
$(call stack_leaker,libshifted.so,lib_plug.c,-fPIC -shared -DPLUG=shifted -DROOM=24 -DSHIFT)
$(call stack_leaker,libearly.so,lib_early.c,-fPIC -shared -z lazy)
$(call stack_leaker,chain-musl,chain.c,,$(MUSL_GCC))
$(call stack_leaker,chain-musl-static,chain.c,-static -DSTATIC_LIBC,$(MUSL_GCC))
$(call stack_leaker,odd_frames-musl,odd_frames.c,,$(MUSL_GCC))
$(call stack_leaker,interrupted-musl,interrupted.c,-DODD_LIBC,$(MUSL_GCC))
$(call stack_leaker,interrupted-musl-static,interrupted.c,-static -DSTATIC_LIBC -DODD_LIBC,$(MUSL_GCC))

$(LEAKER_DIR)/early: tests/leakers/early.c $(LEAKER_DIR)/libearly.so $(LEAKER_HEADERS)
	$(call msg,LEAKER,$@)$(CC) $(STACK_CFLAGS) -z lazy -o $@ $< -L$(LEAKER_DIR) -learly -Wl,-rpath,'$$ORIGIN'

$(LEAKER_DIR)/cxx_stacks: tests/leakers/cxx_stacks.cc $(LEAKER_HEADERS)
	$(Q)$(call leaker_rule,$(LEAKER_CXX) -std=gnu++20 $(STACK_FLAGS) -rdynamic -s)
