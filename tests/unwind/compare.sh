#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Compares the tool's stacks of real programs with gdb's, or counts how they end:
#   compare.sh [--stops N] [--rounds N] [--seed N] [--keep DIR] [PROGRAM...]    at N random allocations
#   compare.sh --ends [--count N] [PROGRAM...]                                  of N allocations at least
# Programs: redis python3 perl clang threads postgres; all of them unless named. One that is not installed is
# left out, and said so. OUTPUT is the build folder. Exit code 1 when a program falls short.
set -uo pipefail
export PYTHONDONTWRITEBYTECODE=1
here=$(cd "$(dirname "$0")" && pwd)
output=$(cd "${OUTPUT:-build}" && pwd) || exit 2
tool=$output/leaksweep
stops=200 rounds=4 seed=1 mode=stops count=1000000 keep='' programs=()

while [ $# -gt 0 ]; do
	case $1 in
	--stops) stops=$2 && shift ;;
	--rounds) rounds=$2 && shift ;;
	--seed) seed=$2 && shift ;;
	--count) count=$2 && shift ;;
	--keep) keep=$2 && shift ;;
	--ends) mode=ends ;;
	-*) sed -n 's/^#   /  /p' "$0" >&2; exit 2 ;;
	*) programs+=("$1") ;;
	esac
	shift
done
[ ${#programs[@]} -gt 0 ] || programs=(redis python3 perl clang threads postgres)
[ "$(id -u)" -eq 0 ] || { echo 'compare: tracing needs root' >&2; exit 77; }
if [ $mode = stops ] && ! command -v gdb >/dev/null; then
	echo 'compare: gdb is missing: install the package gdb' >&2
	exit 77
fi

work=$(mktemp -d)
started=()	# processes to end
target=

# Ends what was started, newest first.
end_started()
{
	local i
	for ((i = ${#started[@]} - 1; i >= 0; i--)); do
		kill "${started[i]}" 2>/dev/null
		wait "${started[i]}" 2>/dev/null
	done
	started=()
}

leave()
{
	end_started
	rm -rf "$work"
}
trap leave EXIT
trap 'exit 130' INT TERM

# await SECONDS COMMAND...: until it succeeds
await()
{
	local tries=$(($1 * 10))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $((tries--)) -gt 0 ] || return 1
		sleep 0.1
	done
}

# start_ready COMMAND...: a program that says READY is the target
start_ready()
{
	"$@" >"$dir/ready" 2>"$dir/errors" &
	target=$!
	started+=("$target")
	await 20 grep -q READY "$dir/ready"
}

# Each start_NAME sets target and begins its load; it returns 77 when something is not installed.

start_threads()
{
	[ -x "$output/unwind/threads" ] || return 77
	start_ready "$output/unwind/threads" 3
}

start_perl()
{
	[ -x /usr/bin/perl ] || return 77
	start_ready /usr/bin/perl "$here/load.pl"
}

start_python3()
{
	[ -x /usr/bin/python3 ] || return 77
	start_ready /usr/bin/python3 "$here/load.py"
}

start_redis()
{
	local socket=$dir/redis.sock
	command -v redis-server redis-benchmark >/dev/null || return 77
	redis-server --port 0 --unixsocket "$socket" --dir "$dir" --save '' >"$dir/errors" 2>&1 &
	target=$!
	started+=("$target")
	await 20 redis-cli -s "$socket" ping || return 1
	(
		while :; do
			redis-benchmark -s "$socket" -q -c 4 -n 3000 -r 1000 \
				-t set,get,incr,lpush,rpop,sadd,hset,spop,zadd,zpopmin,lrange_100,mset
			redis-benchmark -s "$socket" -q -c 2 -n 300 eval \
				"local t = {} for i = 1, 50 do t[i] = 'v' .. i end redis.call('rpush', KEYS[1], unpack(t)) return cjson.encode(t)" \
				1 list
			redis-benchmark -s "$socket" -q -c 1 -n 50 sort list alpha
			redis-benchmark -s "$socket" -q -c 1 -n 1 flushall
		done >/dev/null 2>&1
	) &
	started+=($!)
}

# The source comes by a pipe, again and again, so that the process works as long as it is looked at.
start_clang()
{
	local compiler
	compiler=$(command -v clang++) || return 77
	mkfifo "$dir/source"
	"$compiler" -std=gnu++17 -O2 -x c++ -c -o "$dir/object.o" - <"$dir/source" 2>"$dir/errors" &
	target=$!
	started+=("$target")
	{
		echo '#define main first'
		cat "$here/load.cc"
		for i in $(seq 40); do
			echo "#undef main"
			echo "#define main main$i"
			echo "#define chain chain$i"
			sed -e '/^#include/d' "$here/load.cc"
			echo "#undef chain"
		done
	} >"$dir/source.cc"
	[ "${mode}" = ends ] && sleep 1
	cat "$dir/source.cc" >"$dir/source" &
	started+=($!)
	sleep 0.5
}

start_postgres()
{
	local bin=''
	for bin in /usr/lib/postgresql/*/bin; do [ -x "$bin/postgres" ] && [ -x "$bin/pgbench" ] && break; done
	[ -x "$bin/pgbench" ] || return 77
	local user=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
	mkdir "$dir/data"
	chmod 755 "$work" "$dir"
	chown nobody "$dir/data"
	"${user[@]}" "$bin/initdb" -D "$dir/data" -U postgres -A trust >"$dir/errors" 2>&1 || return 1
	"${user[@]}" "$bin/postgres" -D "$dir/data" -k "$dir/data" -c listen_addresses= -c fsync=off >>"$dir/errors" 2>&1 &
	started+=($!)
	await 30 "$bin/psql" -h "$dir/data" -U postgres -c 'select 1' || return 1
	"$bin/pgbench" -h "$dir/data" -U postgres -i -q postgres >>"$dir/errors" 2>&1 || return 1
	"$bin/pgbench" -h "$dir/data" -U postgres -n -c 1 -T 3600 -b tpcb-like@1 -f "$here/load.sql@1" postgres \
		>>"$dir/errors" 2>&1 &
	started+=($!)
	sleep 2	# its first connection is not the one that works
	target=$("$bin/psql" -h "$dir/data" -U postgres -Atc \
		"select pid from pg_stat_activity where application_name = 'pgbench' limit 1")
	[ -n "$target" ]
}

compare_stops()
{
	python3 "$here/compare_stop.py" --pid "$target" --tool "$tool" --out "$dir" --stops "$stops" \
		--rounds "$rounds" --seed "$seed" || return
	python3 "$here/compare.py" stops "$1" "$dir"
}

# Traces until enough allocations have been seen, in rounds: what a round takes is not known beforehand.
count_ends()
{
	local round=0 seen=0 reports=() report
	while [ "$seen" -lt "$count" ] && [ -d "/proc/$target" ] && [ $((round++)) -lt 40 ]; do
		report=$dir/ends-$round.json
		"$tool" trace -p "$target" --duration 4s --max-stacks 1000000 --format json \
			--all-frames --top 0 -o "$report" 2>>"$dir/tool" ||
			return
		reports+=("$report")
		seen=$((seen + $(python3 "$here/compare.py" sum "$report")))
	done
	[ ${#reports[@]} -gt 0 ] && python3 "$here/compare.py" ends "$1" "${reports[@]}"
}

failed=() left_out=()
for program in "${programs[@]}"; do
	dir=$work/$program
	mkdir -p "$dir"
	"start_$program"
	code=$?
	if [ $code -eq 0 ]; then
		if [ $mode = stops ]; then compare_stops "$program"; else count_ends "$program"; fi
		code=$?
	elif [ $code -ne 77 ]; then
		echo "compare: $program did not start" >&2
		tail -n 5 "$dir/errors" >&2
	fi
	end_started
	case $code in
	0) ;;
	77) left_out+=("$program") ;;
	*) failed+=("$program") ;;
	esac
	if [ -n "$keep" ]; then
		mkdir -p "$keep/$program"
		cp "$dir"/*.json* "$dir"/where.txt "$dir"/gdb.log "$keep/$program" 2>/dev/null
	fi
	rm -rf "$dir"
done
[ ${#left_out[@]} -eq 0 ] || echo "left out, not possible here: ${left_out[*]}"
if [ ${#failed[@]} -gt 0 ]; then
	echo "compare: not as gdb sees it, or not whole: ${failed[*]}" >&2
	exit 1
fi
[ ${#left_out[@]} -lt ${#programs[@]} ] || exit 77
