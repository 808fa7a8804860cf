# SPDX-License-Identifier: GPL-2.0-or-later
# leaksweep: `make help` lists the targets. Variables: V=1 DEBUG=1 SAN=1 CC= CLANG= PREFIX= DESTDIR= OUTPUT=

.DELETE_ON_ERROR:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := all

# ARCH=arm64 on another machine: a cross build.
HOST_ARCH := $(shell uname -m)
ARCH := $(HOST_ARCH)
MACHINE := $(patsubst arm64,aarch64,$(ARCH))
BPF_ARCH := $(patsubst aarch64,arm64,$(patsubst x86_64,x86,$(MACHINE)))
CROSS := $(if $(filter-out $(HOST_ARCH),$(MACHINE)),$(MACHINE)-linux-gnu-)

OUTPUT ?= build$(if $(CROSS),-$(BPF_ARCH))$(if $(SAN),-san)
CC := $(if $(filter default,$(origin CC)),$(CROSS)gcc,$(CC))
AR := $(CROSS)ar
CACHE_DIR := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/leaksweep/$(BPF_ARCH)
SYSROOT := $(if $(CROSS),$(CACHE_DIR)/sysroot)
CLANG ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)
PREFIX ?= /usr/local
DESTDIR ?=
VERSION := 0.1.0

ifeq ($(V),1)
  Q :=
  msg :=
else
  Q := @
  msg = @printf '  %-8s %s\n' '$(1)' '$(2)';
endif

CSTD := -std=gnu17 -D_GNU_SOURCE -pthread
WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wno-missing-field-initializers
OPT := $(if $(DEBUG),-O0 -g3,-O2 -g)
SAN_LIST := address,undefined
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN_LIST) -fno-sanitize-recover=all -fno-omit-frame-pointer)
CFLAGS_ALL := $(CSTD) $(WARN) $(OPT) $(SANFLAGS) $(addprefix --sysroot=,$(SYSROOT)) -I. -Isrc -I$(OUTPUT) -DLEAKSWEEP_VERSION='"$(VERSION)"' $(CFLAGS)
LIBS := -lbpf -ldw -lelf -lcapstone -ljson-c -lz -llzma -liberty -lm

# ---- the stages, in flow order; a stage may call only the archives it lists --------------------------------

STAGES := util discover unwind python attach collect model symbolize report engine cli
USES_util :=
USES_discover := util
USES_unwind := util
USES_python := util
USES_attach := discover util
USES_model := util
USES_collect := python attach discover model util
USES_symbolize := model util
USES_report := model symbolize util
USES_engine := report symbolize collect attach python unwind discover model util
USES_cli := engine report symbolize collect attach python unwind discover model util

# The tool allocates in itself: while it probes the host's libc, its own calls there would pay like anybody's.
MALLOC := $(if $(SAN),,-l:libjemalloc.a) -lm

lib = $(OUTPUT)/lib$(1).a
libs_of = $(call lib,$(1)) $(foreach s,$(USES_$(1)),$(call lib,$(s)))

SRCS := $(wildcard src/*/*.c)
objs_of = $(patsubst src/%.c,$(OUTPUT)/%.o,$(wildcard src/$(1)/*.c))
SKEL := $(OUTPUT)/leaksweep.skel.h
# The unit that defines the maps goes first: libbpf's linker resolves the others' declarations against it.
BPF_SRCS := bpf/maps.bpf.c $(filter-out bpf/maps.bpf.c,$(wildcard bpf/*.bpf.c))
BPF_OBJS := $(patsubst bpf/%.bpf.c,$(OUTPUT)/bpf/%.bpf.o,$(BPF_SRCS))

.PHONY: all
all: $(OUTPUT)/leaksweep ## build the tool

$(OUTPUT)/leaksweep: $(OUTPUT)/main.o $(foreach s,$(STAGES),$(call lib,$(s)))
	$(call msg,LINK,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS) -o $@ $(OUTPUT)/main.o $(call libs_of,cli) $(LIBS) $(MALLOC)

$(OUTPUT)/%.o: src/%.c $(OUTPUT)/flags
	$(call msg,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

# Whoever includes the skeleton needs it made before the compiler can list it as a dependency.
$(call objs_of,attach): | $(SKEL)

define archive_rule
$(call lib,$(1)): $(call objs_of,$(1))
	$$(call msg,AR,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)rm -f $$@ && $(AR) rcs $$@ $$^
endef
$(foreach s,$(STAGES),$(eval $(call archive_rule,$(s))))

# Flags are a dependency too: another compiler or SAN= rebuilds.
$(OUTPUT)/flags: FORCE
	$(Q)mkdir -p $(@D)
	$(Q)echo '$(CC) $(subst ','"'"',$(CFLAGS_ALL))' | cmp -s - $@ || echo '$(CC) $(subst ','"'"',$(CFLAGS_ALL))' > $@
.PHONY: FORCE
FORCE:

# ---- kernel side ------------------------------------------------------------------------------------------

BPF_CFLAGS := -g -O2 -target bpf -mcpu=v3 -D__TARGET_ARCH_$(BPF_ARCH) -I. -Ivmlinux \
	-idirafter $(SYSROOT)/usr/include/$(MACHINE)-linux-gnu -Wall -Wextra -Werror -Wno-unused-parameter \
	-Wno-missing-declarations

$(OUTPUT)/bpf/%.bpf.o: bpf/%.bpf.c
	$(call msg,BPF,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -c -o $@ $<

$(OUTPUT)/leaksweep.bpf.o: $(BPF_OBJS)
	$(call msg,BPFLINK,$@)
	$(Q)$(BPFTOOL) gen object $@ $(BPF_OBJS)

$(SKEL): $(OUTPUT)/leaksweep.bpf.o
	$(call msg,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name leaksweep_bpf > $@

# ---- tests ------------------------------------------------------------------------------------------------

UNIT_SRCS := $(wildcard tests/unit/test_*.c)
UNIT_BINS := $(patsubst tests/unit/%.c,$(OUTPUT)/tests/unit/%,$(UNIT_SRCS))
E2E_SRCS := $(wildcard tests/e2e/test_*.c)
E2E_BINS := $(patsubst tests/e2e/%.c,$(OUTPUT)/tests/e2e/%,$(E2E_SRCS))
TEST_LIB_OBJS := $(patsubst tests/lib/%.c,$(OUTPUT)/tests/lib/%.o,$(wildcard tests/lib/*.c))

$(OUTPUT)/tests/lib/%.o: tests/lib/%.c $(OUTPUT)/flags
	$(call msg,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -Itests -MMD -MP -c -o $@ $<

# A unit test is named after its stage, test_<stage>_<what>.c, and links that stage and what the stage may use:
# a call in the wrong direction does not link.
stage_of = $(word 2,$(subst _, ,$(1)))
unit_libs = $(if $(filter bpf,$(call stage_of,$(1))),,$(call libs_of,$(call stage_of,$(1))))
.SECONDEXPANSION:
$(OUTPUT)/tests/unit/%: tests/unit/%.c $(OUTPUT)/flags $$(call unit_libs,$$*)
	$(call msg,TEST,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -Itests -MMD -MP -o $@ $< $(call unit_libs,$*) -lcmocka $(LIBS)

$(OUTPUT)/tests/e2e/%: tests/e2e/%.c $(TEST_LIB_OBJS) $(OUTPUT)/flags
	$(call msg,TEST,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -Itests -MMD -MP -o $@ $< $(TEST_LIB_OBJS) -lcmocka -ljson-c -lm

include tests/leakers/leakers.mk
include tests/storm/storm.mk
include tests/bench/bench.mk
include tests/unwind/unwind.mk
include tests/python/python.mk
include tests/vm/vm.mk
include tests/arm64/arm64.mk

.PHONY: deps unit unit-san e2e test check-layers check-install
deps: ## install missing distribution packages (root)
	$(Q)tests/lib/install-deps.sh

unit: $(UNIT_BINS) ## unit tests, no root needed
	$(Q)tests/lib/run-unit.sh $(UNIT_BINS)

unit-san: ## unit tests under AddressSanitizer and UndefinedBehaviorSanitizer
	$(Q)$(MAKE) --no-print-directory SAN=1 unit

e2e: $(OUTPUT)/leaksweep $(E2E_BINS) leakers ## end-to-end tests on real processes (root)
	$(Q)OUTPUT=$(OUTPUT) tests/lib/run-e2e.sh $(E2E_BINS)

check-layers: ## the rules of the one-way flow that the linker cannot see
	$(Q)tests/lib/check-layers.sh

check-install: all ## what is installed, into a folder of its own
	$(Q)OUTPUT=$(OUTPUT) tests/lib/check-install.sh

test: ## everything: installs what is missing, builds, runs every test (root)
	$(Q)tests/lib/install-deps.sh test
	$(Q)$(MAKE) --no-print-directory all check-layers check-install unit
	$(Q)$(MAKE) --no-print-directory unit-san
	$(Q)$(MAKE) --no-print-directory e2e
	$(Q)$(MAKE) --no-print-directory vm-short

# ---- the rest ---------------------------------------------------------------------------------------------

.PHONY: demo run bench install uninstall clean help
demo: ## install what is missing, build, trace two small leaking services (root)
	$(Q)tests/lib/install-deps.sh demo
	$(Q)$(MAKE) --no-print-directory all $(OUTPUT)/leakers/demo_service
	$(Q)OUTPUT=$(OUTPUT) tests/lib/demo.sh

run: all ## run the built tool: make run ARGS="doctor"
	$(OUTPUT)/leaksweep $(ARGS)

bench: all bench-programs ## cost per call, beside bcc's memleak, in one run (root); ROUNDS=5
	$(Q)OUTPUT=$(OUTPUT) tests/bench/run.sh $(ARGS)

UNIT := $(DESTDIR)$(PREFIX)/lib/systemd/system/leaksweep.service
CONFIG := $(DESTDIR)/etc/leaksweep/sweep.conf

install: all ## install the tool and its systemd unit to $(DESTDIR)$(PREFIX), a config file to $(DESTDIR)/etc
	install -D -m 0755 $(OUTPUT)/leaksweep $(DESTDIR)$(PREFIX)/sbin/leaksweep
	install -D -m 0644 src/install/leaksweep.service $(UNIT)
	sed -i 's|/usr/local/|$(PREFIX)/|' $(UNIT)
	test -e $(CONFIG) || install -D -m 0644 src/install/sweep.conf $(CONFIG)

uninstall: ## remove what install put there, but a config file that was changed
	rm -f $(DESTDIR)$(PREFIX)/sbin/leaksweep $(UNIT)
	! cmp -s src/install/sweep.conf $(CONFIG) || rm -f $(CONFIG)
	! test -d $(dir $(CONFIG)) || rmdir --ignore-fail-on-non-empty $(dir $(CONFIG))

clean: ## remove everything built
	rm -rf build build-san build-arm64

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1 /p' $(MAKEFILE_LIST) | awk '{ t = $$1; $$1 = ""; printf "  %-14s%s\n", t, $$0 }'
	@echo '  variables:     V=1 show commands, DEBUG=1 -O0, SAN=1 sanitizers, CC=clang, ARCH=arm64 cross build, PREFIX, DESTDIR'

-include $(shell find $(OUTPUT) -name '*.d' 2>/dev/null)
