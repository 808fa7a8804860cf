#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Starts a small service that leaks, traces it for five seconds, shows the report, stops the service.
set -euo pipefail

out=${OUTPUT:-build}
if [ "$(id -u)" -ne 0 ]; then
	echo 'demo: tracing needs root; try: sudo make demo' >&2
	exit 1
fi

"$out/leakers/demo_service" &
service=$!
trap 'kill $service 2>/dev/null || true; wait $service 2>/dev/null || true' EXIT

echo "demo: a service that serves pages runs as process $service"
echo "demo: leaksweep trace -p $service --duration 5s"
echo
"$out/leaksweep" trace -p "$service" --duration 5s
