# SPDX-License-Identifier: GPL-2.0-or-later
# The tool on other kernels, in qemu. A row is KERNEL or KERNEL:preempt=full; 5.10 checks how the tool refuses.

KERNELS ?= 5.10 6.1 6.12 7.2 7.2:preempt=full
VM_BINS := $(addprefix $(OUTPUT)/tests/vm/,exit load)

# Millions of calls, gdb at every frame and servers under load are too much for emulated processors.
VM_LEFT_OUT := test_scale test_unwind_gdb test_real_programs
# So are, of these programs, 17 million calls, a trace for each kind of Python object, budgets of CPU time that loading the
# programs alone would use up for minutes, a report within 30 s of four sweeps that begin at once, what fills the tool's own
# memory, and heaps of hundreds of MiB.
VM_PARTS := test_peer_defects!test_12_counts* test_python_objects!*each?kind* test_sweep_code!*churn* \
	test_sweep_always!*budget* test_sweep_oom!*leak* test_sweep!*host* test_bounds:*deep* test_python_resident:*parts*
vm_program = $(or $(filter $1!% $1:%,$(VM_PARTS)),$1)
VM_TESTS ?= $(foreach t,$(filter-out $(VM_LEFT_OUT),$(notdir $(E2E_BINS))),$(call vm_program,$t))
# Of each part something, in a few minutes on two processors.
VM_SHORT_TESTS := test_alloc:test_all_calls* test_threads:*realloc_races* test_fork:*inherited \
	test_mmap:test_partial* test_unwind:*without_frame* test_python_objects:*unwatched*
VM_SHORT := TESTS='$(VM_SHORT_TESTS)' ROW_LIMIT=900
# On the others, whether they take the programs, or are refused, as 5.10 is.
VM_LOADED := 5.10 6.12 7.2

$(OUTPUT)/tests/vm/exit: tests/vm/exit.c $(OUTPUT)/flags
	$(call msg,VM,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(filter-out $(SANFLAGS),$(CFLAGS_ALL)) -MMD -MP -static -o $@ $<

$(OUTPUT)/tests/vm/load: tests/vm/load.c $(OUTPUT)/flags
	$(call msg,VM,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -o $@ $< -lbpf -lelf -lz

.PHONY: vm vm-short vm-programs
vm-programs: $(OUTPUT)/leaksweep $(E2E_BINS) $(VM_BINS) leakers python-programs

vm: ## BPF programs and end-to-end tests on other kernels, in qemu (root, hours); KERNELS="6.1 7.2:preempt=full"
	$(Q)tests/lib/install-deps.sh test
	$(Q)$(MAKE) --no-print-directory vm-programs
	$(Q)OUTPUT=$(OUTPUT) TESTS='$(VM_TESTS)' tests/vm/matrix.sh $(KERNELS)

vm-short: ## the same, a few tests on one kernel and none on the others (root, 6 minutes)
	$(Q)tests/lib/install-deps.sh test
	$(Q)$(MAKE) --no-print-directory vm-programs
	$(Q)OUTPUT=$(OUTPUT) $(VM_SHORT) tests/vm/matrix.sh 6.1
	$(Q)OUTPUT=$(OUTPUT) TESTS= ROW_LIMIT=600 tests/vm/matrix.sh $(VM_LOADED)
