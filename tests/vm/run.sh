#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# run.sh KERNEL [preempt=full]: boots a kernel in qemu on this machine's root, read-only, and runs guest.sh there.
# Exits 0 when all of it passed, 77 when the kernel cannot be had (and says so), 1 when something failed.
# OUTPUT is the build folder; what the guest wrote is left in $OUTPUT/vm/KERNEL[+preempt=full].
# MODE       full (default), or refuse: only how the tool takes a kernel that is too old
# TESTS      end-to-end programs, NAME, NAME:PATTERN of the tests in it or NAME!PATTERN of those left out
# PATIENCE   factor on the tests' timeouts; LIMIT seconds for one test program; ROW_LIMIT seconds for everything
# VM_ACCEL   kvm or tcg; found out when not set
set -euo pipefail

kernel=${1:?usage: run.sh KERNEL [preempt=full]}
extra=${2-}
tree=$(cd "$(dirname "$0")/../.." && pwd -P)
build=$(cd "${OUTPUT:-build}" && pwd -P)
out=$build/vm/$kernel${extra:++$extra}
memory=2048M
row_limit=${ROW_LIMIT:-43200}
exit_port=0xf4	# as in exit.c
scratch=$(mktemp -d)
daemons=()

cleanup()
{
	for pid in "${daemons[@]}"; do
		kill "$pid" 2>/dev/null || true
	done
	wait
	rm -rf "$scratch"
}
trap cleanup EXIT

# make_initrd FILE PROBE: busybox, the modules, exit, the settings
make_initrd()
{
	local dir=$scratch/initrd

	rm -rf "$dir"
	mkdir -p "$dir"/{bin,proc,sys,dev}
	cp "$(command -v busybox)" "$dir/bin/"
	ln -s busybox "$dir/bin/sh"
	cp "$tree/tests/vm/init.sh" "$dir/init"
	cp "$build/tests/vm/exit" "$dir/exit"
	cp -r "$images/modules" "$dir/"
	printf '%s=%q\n' PROBE "$2" TREE "$tree" BUILD "$build" MODE "${MODE:-full}" TESTS "${TESTS-}" \
		PATIENCE "${PATIENCE:-10}" LIMIT "${LIMIT:-5400}" >"$dir/settings"
	(cd "$dir" && find . | cpio --quiet -o -H newc) | gzip -1 >"$1"
}

# boot SECONDS ACCEL INITRD QEMU_OPTION...: returns qemu's exit code
boot()
{
	local limit=$1 accel=$2 initrd=$3 cpu
	shift 3
	case $accel:$kernel in
	kvm:*) cpu=host ;;
	tcg:5.* | tcg:6.*) cpu=max,-cx16 ;;	# else emulated cmpxchg16b breaks the guest's flags
	tcg:*) cpu=max ;;			# from 7 on there is no boot without it
	esac
	# One thread: emulated processors do not see in time how another one patches the kernel's code.
	[ "$accel" = kvm ] || accel=tcg,thread=single
	timeout "$limit" qemu-system-x86_64 -M q35 -m $memory -smp 2 -accel "$accel" -cpu $cpu -nodefaults \
		-display none -monitor none -serial "file:$out/console.log" -no-reboot -kernel "$images/vmlinuz" \
		-initrd "$initrd" -append "console=ttyS0 panic=-1 quiet mitigations=off $extra" \
		-device isa-debug-exit,iobase=$exit_port,iosize=0x04 "$@" 2>"$out/qemu.log"
}

# passed CODE: 1 is the guest's 0; a panic or a power-off would be 0. The marker line says that guest.sh has ended.
passed()
{
	[ "$1" -eq 1 ] && grep -aq '^VMRESULT rc=0' "$out/console.log"
}

# /dev/kvm may be there and yet run nothing.
find_accel()
{
	local code=0

	accel=tcg
	[ -w /dev/kvm ] || return 0
	make_initrd "$scratch/probe.gz" 1
	(boot 10 kvm "$scratch/probe.gz") 2>/dev/null || code=$?
	if passed $code; then
		accel=kvm
	fi
}

# share TAG FOLDER: the guest mounts it by its tag
share()
{
	local waited=0

	/usr/lib/qemu/virtiofsd --socket-path="$scratch/$1" -o source="$2" -o cache=always -o sandbox=chroot \
		--thread-pool-size=0 >"$out/virtiofsd-$1.log" 2>&1 &
	daemons+=($!)
	while [ ! -S "$scratch/$1" ] && [ $((waited++)) -lt 100 ]; do
		sleep 0.1
	done
	shares+=(-chardev "socket,id=$1,path=$scratch/$1" -device "vhost-user-fs-pci,chardev=$1,tag=$1")
}

images=$("$tree/tests/vm/fetch-kernel.sh" "$kernel")
rm -rf "$out"
mkdir -p "$out/guest"
accel=${VM_ACCEL-}
[ -n "$accel" ] || find_accel
shares=(-object "memory-backend-memfd,id=memory,size=$memory,share=on" -numa node,memdev=memory)
share host /
share out "$out/guest"
make_initrd "$scratch/initrd.gz" ''
echo "kernel $(<"$images/release") $extra, $accel: $out/guest/job.log"
code=0
boot "$row_limit" "$accel" "$scratch/initrd.gz" "${shares[@]}" || code=$?
if passed $code; then
	cat "$out/guest/refusal" 2>/dev/null || true
	exit 0
fi
[ $code -ne 124 ] || echo "run: kernel $kernel $extra: not done after $row_limit s"
echo "run: kernel $kernel $extra: qemu's exit code $code;" \
	"$(grep -a '^VMRESULT' "$out/console.log" || echo 'the guest did not come to its end')"
grep -aE '^== |FAILED|failed:' "$out/guest/job.log" 2>/dev/null ||
	tail -n 15 "$out/console.log" "$out/qemu.log" || true
exit 1
