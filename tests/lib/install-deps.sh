#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Installs the distribution packages that are missing, and does nothing when none is.
#   install-deps.sh         what `make` needs
#   install-deps.sh demo    that, and what `make demo` needs
#   install-deps.sh test    that, and what the tests need
#   install-deps.sh bench   what `make` needs, and what `make bench ARGS=services` needs
#   install-deps.sh vm      what `make` needs, and what other kernels in virtual machines need
#   install-deps.sh arm64   what `make` needs, and what the cross build and its smoke test need
set -euo pipefail

build=(gcc make binutils clang llvm libbpf-dev bpftool libelf-dev libdw-dev libcapstone-dev libjemalloc-dev libjson-c-dev
       zlib1g-dev liblzma-dev libiberty-dev libc6-dev linux-libc-dev)
demo=(python3)
test=(g++ libcmocka-dev libclang-rt-14-dev musl-tools busybox-static runc libjemalloc2 libtcmalloc-minimal4 libmimalloc2.0
      redis-server redis-tools nginx-light git valgrind heaptrack dwz libdebuginfod1 gdb bindfs btrfs-progs mount
      python3-dev python3-numpy)
bench=(python3 redis-server redis-tools nginx-light postgresql wrk)
vm=(qemu-system-x86 qemu-system-common busybox-static kmod cpio xz-utils iproute2 python3 debian-archive-keyring systemd)
arm64=(gcc-aarch64-linux-gnu qemu-system-arm cpio python3)

wanted=("${build[@]}")
[ "${1-}" = demo ] || [ "${1-}" = test ] && wanted+=("${demo[@]}")
[ "${1-}" = test ] && wanted+=("${test[@]}")
[ "${1-}" = bench ] && wanted+=("${bench[@]}")
[ "${1-}" = vm ] && wanted+=("${vm[@]}")
[ "${1-}" = arm64 ] && wanted+=("${arm64[@]}")

missing=()
for package in "${wanted[@]}"; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] ||
		missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ]; then
	echo "install-deps: run it as root, or install these packages: ${missing[*]}" >&2
	exit 1
fi

# Servers among the packages must not start: the tests start their own, with their own settings.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
	trap 'rm -f $policy' EXIT
fi

log=$(mktemp)
install()
{
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
		-o DPkg::Lock::Timeout=300 "${missing[@]}" >"$log" 2>&1
}

echo "installing: ${missing[*]}"
if ! install && ! { apt-get update -qq >"$log" 2>&1 && install; }; then
	tail -n 20 "$log" >&2
	rm -f "$log"
	echo "install-deps: apt-get could not install: ${missing[*]}" >&2
	exit 1
fi
rm -f "$log"
