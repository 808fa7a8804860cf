# SPDX-License-Identifier: GPL-2.0-or-later
# What the Python test programs load. The module uses the stable interface: one file for all versions; it is left out
# where Debian's headers (python3-dev) are missing.

PYTHON_DIR := $(OUTPUT)/python
PYTHON_HEADERS := $(firstword $(dir $(wildcard /usr/include/python3.*/Python.h)))
PYTHON_FLAGS := -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Werror -Wno-missing-field-initializers -g -O2 -fPIC -shared \
	-fomit-frame-pointer -fno-optimize-sibling-calls -fno-builtin

PYTHON_LIBS := $(PYTHON_DIR)/leaky_extension.so $(if $(PYTHON_HEADERS),$(PYTHON_DIR)/leaky_module.so)

.PHONY: python-programs
python-programs: $(PYTHON_LIBS)

e2e: python-programs

PYTHON_E2E := $(filter $(OUTPUT)/tests/e2e/test_python_%,$(E2E_BINS))

.PHONY: python-matrix
python-matrix: $(OUTPUT)/leaksweep $(PYTHON_E2E) python-programs ## all Python tests under every Python that is found here (root)
	$(Q)PYTHON_MATRIX=1 OUTPUT=$(OUTPUT) LIMIT=7200 tests/lib/run-e2e.sh $(PYTHON_E2E)

$(PYTHON_DIR)/%.so: tests/python/%.c tests/python/leaky_extension.h tests/python/python.mk
	$(call msg,LEAKER,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(PYTHON_FLAGS) $(if $(filter leaky_module,$*),-isystem $(PYTHON_HEADERS)) -o $@ $<
