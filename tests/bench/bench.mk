# SPDX-License-Identifier: GPL-2.0-or-later
# The programs that `make bench` measures. Like the leakers they keep their frames and call the allocator they name.

BENCH_DIR := $(OUTPUT)/bench
BENCH_CFLAGS := $(CSTD) -Wall -Wextra -Werror -Wno-missing-field-initializers -g -O1 -fno-omit-frame-pointer \
	-fno-optimize-sibling-calls -fno-builtin -pthread
BENCH_BINS := $(addprefix $(BENCH_DIR)/,pairs stacks tool_run)

.PHONY: bench-programs
bench-programs: $(BENCH_BINS)

$(BENCH_DIR)/%: tests/bench/%.c tests/bench/bench.mk
	$(call msg,BENCH,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(BENCH_CFLAGS) -o $@ $<
