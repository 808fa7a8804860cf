# SPDX-License-Identifier: GPL-2.0-or-later
# Programs with a known truth. Their flags are their own: frame pointers, no tail calls, no builtin malloc, no sanitizers.

LEAKER_DIR := $(OUTPUT)/leakers
LEAKER_FLAGS := -Wall -Wextra -Werror -Wno-missing-field-initializers -g -O1 -fno-omit-frame-pointer -fno-optimize-sibling-calls -fno-builtin -pthread -I.
LEAKER_CFLAGS := -std=gnu17 -D_GNU_SOURCE $(LEAKER_FLAGS)
LEAKER_CXX ?= g++
MUSL_GCC := $(shell command -v musl-gcc 2>/dev/null)
LEAKER_HEADERS := $(wildcard tests/leakers/*.h) tests/leakers/leakers.mk

LEAKER_NAMES := alloc threads many tree maps signals signals-malloc jemalloc_x plugin demo_service \
	new_delete libsecond.so libownmalloc.so libcount.so alloc-static alloc-static-pie \
	$(if $(MUSL_GCC),alloc-musl alloc-musl-static) $(if $(filter x86_64,$(ARCH)),tiny32)
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
