# SPDX-License-Identifier: GPL-2.0-or-later
# The programs that `make bench` measures. Like the leakers they keep their frames and call the allocator they name.

BENCH_DIR := $(OUTPUT)/bench
BENCH_WARN := -Wall -Wextra -Werror -Wno-missing-field-initializers
BENCH_CFLAGS := $(CSTD) $(BENCH_WARN) -g -O1 -fno-omit-frame-pointer -fno-optimize-sibling-calls -fno-builtin
BENCH_NOFP_CFLAGS := $(CSTD) $(BENCH_WARN) -g -O2 -fomit-frame-pointer -fno-builtin
# The program with exceptions and signals is a leaker, and the sweep's services are.
BENCH_BINS := $(addprefix $(BENCH_DIR)/,pairs pairs_nofp stacks tool_run names) \
	$(filter $(addprefix $(LEAKER_DIR)/,unwind_threads service),$(LEAKERS))

# 10 000 functions in files of 500, built as distributions build.
NAMES_PARTS := $(shell seq -w 1 20)
NAMES_CFLAGS := $(CSTD) $(BENCH_WARN) -g -O2 -fno-builtin
NAMES_OBJS := $(patsubst %,$(BENCH_DIR)/names-%.o,$(NAMES_PARTS) main)

.PHONY: bench-programs
bench-programs: $(BENCH_BINS) $(STORM_BINS)

$(BENCH_DIR)/%: tests/bench/%.c tests/bench/bench.mk
	$(call msg,BENCH,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(BENCH_CFLAGS) -o $@ $<

$(BENCH_DIR)/pairs_nofp: tests/bench/pairs.c tests/bench/bench.mk
	$(call msg,BENCH,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(BENCH_NOFP_CFLAGS) -o $@ $<

$(BENCH_DIR)/names-%.c: tests/bench/names.awk tests/bench/bench.mk
	$(Q)mkdir -p $(@D)
	$(Q)awk -v part=$* -v parts='$(NAMES_PARTS)' -v functions=500 -f $< > $@

$(BENCH_DIR)/names-%.o: $(BENCH_DIR)/names-%.c tests/bench/names.h
	$(Q)$(CC) $(NAMES_CFLAGS) -Itests/bench -c -o $@ $<

$(BENCH_DIR)/names: $(NAMES_OBJS)
	$(call msg,BENCH,$@)
	$(Q)$(CC) $(NAMES_CFLAGS) -o $@ $^
