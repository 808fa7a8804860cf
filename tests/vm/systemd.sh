#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# In a guest whose first process is systemd: the unit starts in its sandbox, tells the journal which code of another
# service keeps memory, reads its config file again, comes back after a kill, and ends when it is told to.
# SERVICE is the program that leaks; WAIT is how many seconds something may take.
set -euo pipefail
config=/etc/leaksweep/sweep.conf
journal=/run/vm-out/journal

complain()
{
	echo "systemd: $*"
	systemctl --no-pager --full status leaksweep || true
	tail -n 60 $journal
	exit 1
}

# await WHAT COMMAND...
await()
{
	local what=$1 limit=$((SECONDS + WAIT))

	shift
	until "$@"; do
		[ $SECONDS -lt $limit ] || complain "not seen within $WAIT s: $what"
		sleep 1
	done
}

# Some words of the journal, in their order.
says()
{
	journalctl --no-pager -o cat -u leaksweep >$journal
	tr '\n' ' ' <$journal | grep -q -- "$1"
}

property_is()
{
	[ "$(systemctl show -P "$1" leaksweep)" = "$2" ]
}

programs()
{
	bpftool prog show | grep -c 'name process_exec' || true
}

printf 'interval = 10s\nbudget = 50\n' >$config
systemd-run --quiet --unit=leaking "$SERVICE" --rate 300 leak 10000000
systemctl start leaksweep
await 'it runs' property_is ActiveState active
await 'the code of the leak' says 'leaking.service.*leak_block'
systemctl reload leaksweep
await 'its config file is read again' says "$config is read"
systemctl kill --signal=KILL --kill-whom=main leaksweep
await 'it comes back after a kill' property_is NRestarts 1
await 'it runs again' property_is ActiveState active
await 'the code of the leak, once more' says 'is read.*leaking.service.*leak_block'
[ "$(programs)" -eq 1 ] || complain 'what was killed has left programs'
systemctl stop leaksweep
property_is Result success || complain 'it does not end well'
[ "$(programs)" -eq 0 ] || complain 'it leaves programs'
systemd-analyze --no-pager security leaksweep | tail -n 1
