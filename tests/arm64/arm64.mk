# SPDX-License-Identifier: GPL-2.0-or-later
# The cross build's libraries, and the smoke test: the arm64 tool on an arm64 kernel in qemu.

ifneq ($(CROSS),)
$(SYSROOT)/complete:
	$(call msg,FETCH,$(SYSROOT))
	$(Q)tests/arm64/fetch.sh sysroot $(SYSROOT)

$(OUTPUT)/flags $(BPF_OBJS): | $(SYSROOT)/complete
endif

.PHONY: arm64
arm64: ## build for arm64 and trace a leaker there, in qemu (root); skips when the packages cannot be had
	$(Q)tests/lib/install-deps.sh arm64
	$(Q)tests/arm64/smoke.sh
