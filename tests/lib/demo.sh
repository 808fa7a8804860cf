#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Starts two small services that leak, one in C and one in Python, traces each for five seconds, shows the reports, stops
# the services.
set -euo pipefail

out=${OUTPUT:-build}
if [ "$(id -u)" -ne 0 ]; then
	echo 'demo: tracing needs root; try: sudo make demo' >&2
	exit 1
fi

show()
{
	"${@:2}" &
	local service=$!
	trap "kill $service 2>/dev/null || true; wait $service 2>/dev/null || true" EXIT
	sleep 0.5
	echo "demo: $1 runs as process $service"
	echo "demo: leaksweep trace -p $service --duration 5s"
	echo
	"$out/leaksweep" trace -p "$service" --duration 5s
	kill $service
	wait $service 2>/dev/null || true
	trap - EXIT
}

show 'a service in C that serves pages' "$out/leakers/demo_service"
echo
show 'a service in Python that remembers its sessions' /usr/bin/python3 tests/python/demo_service.py
