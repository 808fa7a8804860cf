#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a guest does, as its first process, and how it tells: files in /run/vm-out, a marker line, qemu's exit code.
# guest.sh FAILED: the rest of it, under systemd; FAILED is 1 when something failed before.
set -ufo pipefail
. /run/vm-settings
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LANG=C OUTPUT=$BUILD
export TEST_PATIENCE=$PATIENCE LIMIT PYTHONS=distribution
out=/run/vm-out
cd "$TREE" || exit
failed=0

# step NAME COMMAND...: one thing that must work; says how it went.
step()
{
	local name=$1 started=$SECONDS code
	shift
	"$@"
	code=$?
	[ $code -eq 0 ] || failed=1
	echo "== step $name: exit code $code after $((SECONDS - started)) s"
}

mount_all()
{
	mkdir -p /dev/pts /dev/shm
	mount -t devpts devpts /dev/pts
	mount -t tmpfs tmpfs /dev/shm
	mount -t tracefs tracefs /sys/kernel/tracing
	mount -t bpf bpf /sys/fs/bpf
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
	ip link set lo up
}

doctor()
{
	"$BUILD/leaksweep" doctor && "$BUILD/leaksweep" doctor --format json >$out/doctor.json
}

# Each way of attaching that this kernel has gets its own load: other programs, other attach types.
load_programs()
{
	local mode

	for mode in $("$TREE/tests/vm/features.py" modes $out/doctor.json); do
		"$BUILD/tests/vm/load" "$BUILD/leaksweep.bpf.o" "$mode" || return 1
	done | tee $out/load
}

# one_test NAME[:PATTERN | !PATTERN]: an end-to-end program, or those of its tests that match, or do not; there must
# be one
one_test()
{
	local name=${1%%[:!]*} pattern='*' left_out=

	case $1 in
	*:*) pattern=${1#*:} ;;
	*!*) left_out=${1#*!} ;;
	esac
	TEST_FILTER=$pattern TEST_LEFT_OUT=$left_out "$TREE/tests/lib/run-e2e.sh" "$BUILD/tests/e2e/$name" 2>&1 | tee "$out/$name" &&
		! grep -q 'Running 0 test' "$out/$name"
}

# Too old a kernel: either it traces, or one sentence says why not and the exit code is not 0.
refuses_clearly()
{
	local code

	"$BUILD/leaksweep" doctor --format json >$out/doctor.json
	"$BUILD/leaksweep" trace -- /bin/true >$out/refusal 2>&1
	code=$?
	cat $out/refusal
	if [ $code -eq 0 ]; then
		echo 'it traces'
	else
		[ "$(wc -l <$out/refusal)" -eq 1 ] && grep -q '^leaksweep: ' $out/refusal
	fi
}

work()
{
	local test

	step mounts mount_all
	if [ "$MODE" = refuse ]; then
		step refusal refuses_clearly
		return
	fi
	step doctor doctor
	step programs load_programs
	for test in $TESTS; do
		step "$test" one_test "$test"
	done
}

# The unit wants systemd, which wants to be the first process: it comes back to this file, by a unit of its own.
become_systemd()
{
	local units=/run/systemd/system dir

	cp -a /etc /run/vm-etc
	mkdir -p $units /run/vm-etc/leaksweep
	mount --bind /run/vm-etc /etc
	for dir in /usr/local/sbin /var/cache /var/log; do
		mount -t tmpfs tmpfs $dir
	done
	cp "$BUILD/leaksweep" /usr/local/sbin/
	cp "$TREE/src/install/leaksweep.service" $units/
	printf '%s\n' '[Service]' 'Type=oneshot' "ExecStart=/bin/bash $TREE/tests/vm/guest.sh $failed" >$units/vm.service
	(sleep 1800 && echo 'systemd: it does not come to its end' >>$out/job.log && finish 1) &
	exec /lib/systemd/systemd --show-status=no --unit=vm.service
}

finish()
{
	dmesg >$out/dmesg
	sync
	printf '\nVMRESULT rc=%s\n' "$1" >/dev/console
	exec /run/vm-exit "$1"
}

if [ $# -eq 0 ]; then
	uname -r >$out/uname
	cat /proc/cmdline >$out/cmdline
	work >$out/job.log 2>&1 </dev/null
	[ "$MODE" = refuse ] || [ -z "$TESTS" ] || become_systemd >>$out/job.log 2>&1 </dev/null
else
	failed=$1
	step systemd env SERVICE="$BUILD/leakers/service" WAIT=$((30 * PATIENCE)) "$TREE/tests/vm/systemd.sh" \
		>>$out/job.log 2>&1 </dev/null
fi
finish $failed
