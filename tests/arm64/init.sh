#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=dash
# The first and only process of the smoke test's machine: what it says on the console is checked by check.py.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp

# tell NAME: the command's exit status, what it has said, and its report, each line marked
tell()
{
	echo "PART $1 exit $?"
	sed "s/^/PART $1: /" /tmp/out
	sed "s/^/PART $1 error: /" /tmp/err
	[ -e /tmp/report ] && sed "s/^/PART $1 report: /" /tmp/report
	rm -f /tmp/report
}

leaksweep doctor >/tmp/out 2>/tmp/err
tell doctor

for mode in malloc all; do
	leaksweep trace --cache-dir none -f json -o /tmp/report -- alloc $mode now >/tmp/out 2>/tmp/err
	tell $mode
done

# await FILE WORD: until it says so, for at most two minutes
await()
{
	timeout 120 sh -c "until grep -q '$2' '$1'; do sleep 0.1; done"
}

# One that runs already: it goes on when the tool says that it traces.
mkfifo /tmp/go
alloc all </tmp/go >/tmp/out &
exec 3>/tmp/go
await /tmp/out READY
leaksweep trace --cache-dir none -f json -o /tmp/report -p $! 2>/tmp/err &
await /tmp/err tracing
echo >&3
await /tmp/out DONE
kill -INT $!
wait $!
tell running

echo PART end
poweroff -f
