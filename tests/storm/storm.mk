# SPDX-License-Identifier: GPL-2.0-or-later
# Drivers of a busy host. They are built as leakers are and lie beside them: the tests look for both in one place.

STORM_HOST := tests/storm/host.c tests/storm/host.h
STORM_BINS := $(addprefix $(LEAKER_DIR)/,storm crowd storm_leaf libstorm.so)
STORM_SECONDS ?= 60

leakers: $(STORM_BINS)

storm_rule = $(call msg,LEAKER,$@)mkdir -p $(@D) && $(CC) $(LEAKER_CFLAGS) -o $@ $< tests/storm/host.c

$(LEAKER_DIR)/storm: tests/storm/storm.c $(STORM_HOST) $(LEAKER_HEADERS) tests/storm/storm.mk
	$(Q)$(storm_rule)

$(LEAKER_DIR)/crowd: tests/storm/crowd.c $(STORM_HOST) $(LEAKER_HEADERS) tests/storm/storm.mk
	$(Q)$(storm_rule)

# Copies of these are told apart by a build-id that is written over theirs, which must be a SHA-1.
$(LEAKER_DIR)/storm_leaf: tests/storm/storm_leaf.c $(LEAKER_HEADERS) tests/storm/storm.mk
	$(Q)$(call leaker_rule,$(CC) $(LEAKER_CFLAGS) -Xlinker --build-id=sha1)

$(LEAKER_DIR)/libstorm.so: tests/storm/lib_storm.c $(LEAKER_HEADERS) tests/storm/storm.mk
	$(Q)$(call leaker_rule,$(CC) $(LEAKER_CFLAGS) -fPIC -shared -Xlinker --build-id=sha1)

.PHONY: storm
storm: $(OUTPUT)/leaksweep $(OUTPUT)/tests/e2e/test_storm leakers ## the storm test in its long form (root); STORM_SECONDS=60
	$(Q)STORM_SECONDS=$(STORM_SECONDS) OUTPUT=$(OUTPUT) tests/lib/run-e2e.sh $(OUTPUT)/tests/e2e/test_storm
