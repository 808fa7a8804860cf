#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What tracing costs: bare, under leaksweep, under bcc's packaged C memleak, in one run. Root.
#
#   run.sh            all of these, but for the last three:
#   run.sh table      the cost of calls and of reports
#   run.sh walks      whole stacks of real programs (walks.sh)
#   run.sh python     the cost of Python's objects (python.sh)
#   run.sh scale      the tool on a host of 100 and of 1 000 processes, and in a storm of execs (scale.sh)
#   run.sh sweep      whether the sweep names what leaks, and nothing else (sweep.sh); takes hours, QUICK=1 minutes
#   run.sh services   what the sweep costs real services under load, by pairs (services.sh); takes hours, too
#                     both may be run in pieces into one file, which JUDGE=1 judges without running anything
#   run.sh anatomy    the cost of each kind of probe instead
#   OUTPUT=build      where the programs are; ROUNDS=5; RUN_MS=120 for each loop; REQUESTS=60000 of redis-benchmark;
#                     STACKS=1000000 of each real program; PROGRAMS="perl postgres" of them;
#                     PYTHON=/opt/bin/python3 another interpreter to measure
#
# The three variants take turns, round after round, so that a slow minute of the machine hits all of them. What is
# measured runs alone on one CPU, the tracer (and redis-benchmark) on another, both ahead of everything else. Shown
# is the best round, which other load disturbs least, and beside it the median and how far apart the rounds were.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
OUTPUT=$(cd "${OUTPUT:-build}" && pwd)
ROUNDS=${ROUNDS:-5}
RUN_MS=${RUN_MS:-120}
REQUESTS=${REQUESTS:-60000}
STACKS=${STACKS:-1000000}
HELD_BLOCKS=1000000
HELD_STACKS=10000
SLOW_ROUNDS=2 # of what takes many seconds each time
what=${1:-all}

tool=$OUTPUT/leaksweep
programs=$OUTPUT/bench
cache=$OUTPUT/bench-cache

note()
{
	echo "bench: $*" >&2
}

die()
{
	note "$*"
	exit 1
}

[[ $EUID -eq 0 ]] || die "run as root: probes cannot be placed otherwise"
[[ " all table walks python scale sweep services anatomy " == *" $what "* ]] ||
	die "usage: run.sh [table|walks|python|scale|sweep|services|anatomy]"
[[ $STACKS =~ ^[1-9][0-9]*$ ]] || die "STACKS must be a number above 0"
[[ $ROUNDS =~ ^[1-9][0-9]*$ ]] || die "ROUNDS must be a number above 0"
for program in "$tool" "$programs"/{pairs,pairs_nofp,stacks,names,tool_run}; do
	[[ -x $program ]] || die "$program is missing: run make bench"
done

mapfile -t cpus < <(taskset -pc $$ | sed 's/.*: //' | tr ',' '\n' |
	awk -F- '{ for (i = $1; i <= ($2 == "" ? $1 : $2); i++) print i }')
target_cpu=${cpus[-1]}
tool_cpu=${cpus[0]}
first="nice -n -20"
on_target="$first taskset -c $target_cpu"
on_tool="$first taskset -c $tool_cpu"

work=$(mktemp -d)
samples=$work/samples
: > "$samples"
declare -A pids=()

cleanup()
{
	local pid

	for pid in "${pids[@]}"; do
		kill -TERM "$pid" 2> /dev/null || true
	done
	for pid in "${pids[@]}"; do
		wait "$pid" 2> /dev/null || true
	done
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# ---- the peer ---------------------------------------------------------------------------------------------

variants=(bare leaksweep)
peer_note=""
if [[ " walks python scale sweep services " == *" $what "* ]]; then
	:
elif reason=$("$here/peer.sh" "$cache" 2>&1 > /dev/null); then
	variants+=(memleak)
	peer_note="memleak of bcc's libbpf-tools, package version $(cat "$cache/version" 2> /dev/null || echo unknown)"
else
	peer_note="peer not measured: ${reason##*$'\n'}"
	note "$peer_note"
fi

# Takes memleak out of the run, once it has failed.
drop_peer()
{
	peer_note="peer not measured: $1"
	note "$peer_note"
	variants=(bare leaksweep)
}

# ---- campaigns --------------------------------------------------------------------------------------------

# check_judge NAME: whether what judges the runs does so rightly
check_judge()
{
	python3 -B "$here/$1_test.py" 2> "$work/log" || { cat "$work/log" >&2; die "what judges the runs is wrong"; }
}

# open_keep NAME VARIABLE: where the campaign's runs are kept; a file that is named there, or a new one
open_keep()
{
	local -n file=$2

	if [[ -n ${JUDGE:-} ]]; then
		[[ -r ${file:-} ]] || die "JUDGE wants the file of runs in $2"
		return
	fi
	file=${file:-$OUTPUT/$1-$(date +%Y%m%d-%H%M%S).runs}
	{ : >> "$file"; } 2> /dev/null || die "cannot write $file"
	note "runs are kept in $file"
}

# ---- targets and tracers ----------------------------------------------------------------------------------

# start_target NAME CMD...: runs it with a pipe to each side; to[NAME] and from[NAME] are our ends.
declare -A to=() from=()
start_target()
{
	local name=$1 write_fd read_fd

	shift
	rm -f "$work/$name".{in,out}
	mkfifo "$work/$name".{in,out}
	$on_target "$@" < "$work/$name.in" > "$work/$name.out" &
	pids[$name]=$!
	exec {write_fd}> "$work/$name.in" {read_fd}< "$work/$name.out"
	to[$name]=$write_fd
	from[$name]=$read_fd
}

stop()
{
	kill -TERM "${pids[$1]}" 2> /dev/null || true
	wait "${pids[$1]}" 2> /dev/null || true
	unset "pids[$1]"
}

stop_target()
{
	local write_fd=${to[$1]} read_fd=${from[$1]}

	stop "$1"
	exec {write_fd}>&- {read_fd}<&-
}

# ask NAME WORDS...: one line to the target, its answer in $answer.
ask()
{
	local name=$1

	shift
	echo "$*" >&"${to[$name]}"
	read -r -t 120 answer <&"${from[$name]}" || die "the measured program $name stopped answering"
}

# start_tracer VARIANT PID [OPTION...]: returns when all probes are in place. Fails if the tracer cannot.
start_tracer()
{
	local variant=$1 pid=$2 ready report cmd

	shift 2
	rm -f "$work/report"
	: > "$work/times"
	if [[ $variant == leaksweep ]]; then
		ready="leaksweep: tracing"
		report=$work/report
		cmd=("$tool" trace -p "$pid" -o "$work/report" --cache-dir "$work/tables" "$@")
	else
		ready="Hit Ctrl-C to end"
		report="Top "
		cmd=(stdbuf -oL "$cache/memleak" -p "$pid" 3600)
	fi
	$on_tool "$programs/tool_run" "$work/log" "$ready" "$report" 60 "${cmd[@]}" > "$work/times" &
	pids[tracer]=$!
	while [[ $(< "$work/times") != ready* ]]; do
		if ! kill -0 "${pids[tracer]}" 2> /dev/null; then
			unset "pids[tracer]"
			return 1
		fi
		sleep 0.02
	done
}

# Ends the tracer; $attach_ms $report_ms $exit_ms $peak_kb $maps_kb tell of it. Fails if it failed.
stop_tracer()
{
	local status

	kill -INT "${pids[tracer]}"
	wait "${pids[tracer]}"
	unset "pids[tracer]"
	attach_ms=$(awk '$1 == "ready" { print $2 }' "$work/times")
	report_ms=$(awk '$1 == "report" { print $2 }' "$work/times")
	read -r status exit_ms peak_kb maps_kb < <(awk '$1 == "exit" { print $2, $3, $4, $5 }' "$work/times")
	[[ $status -eq 0 && -n $report_ms ]]
}

# What a failed tracer means: the end, or a table without the peer.
tracer_failed()
{
	local last

	last=$(tail -n 1 "$work/log")
	[[ $1 == memleak ]] || { cat "$work/log" >&2; die "leaksweep failed, its output is above"; }
	drop_peer "$last"
}

sample()
{
	echo "$1 $2 $3" >> "$samples"
}

# ---- loops ------------------------------------------------------------------------------------------------

# row, who is measured (traced, or a bystander), operation, frames, threads
table_loops="
pair4 traced pair 4 1
pair10 traced pair 10 1
pair4x2 traced pair 4 2
null traced null 4 1
map traced map 4 1
syscall traced syscall 4 1
idle traced idle 4 1
other_pair bystander pair 4 1
other_syscall bystander syscall 4 1
"
# leaksweep with --scope process; memleak knows no other
scoped_loops="
pair4_scoped traced pair 4 1
other_pair_scoped bystander pair 4 1
"
# in the program without frame pointers
whole_loops="
whole10 traced whole 10 1
whole40 traced whole 40 1
shift10 traced shift 10 1
shift40 traced shift 40 1
"
anatomy_loops="
split traced split 4 1
refuse traced refuse 4 1
resize traced resize 4 1
null traced null 4 1
map traced map 4 1
"

# run_loops VARIANT LOOPS
run_loops()
{
	local row target op frames threads

	while read -r row target op frames threads; do
		[[ -n $row ]] || continue
		ask "$target" "$op" "$frames" "$threads" "$RUN_MS"
		if [[ $op == split ]]; then
			sample malloc "$1" "${answer% *}"
			sample free "$1" "${answer#* }"
		else
			sample "$row" "$1" "$answer"
		fi
	done <<< "$2"
}

# trace_loops VARIANT LOOPS [OPTION...]
trace_loops()
{
	local variant=$1 list=$2

	shift 2
	start_tracer "$variant" "${pids[traced]}" "$@" && ask traced pair 4 1 20 && run_loops "$variant" "$list" &&
		stop_tracer
}

# measure_loops PROGRAM LOOPS SCOPED_LOOPS
measure_loops()
{
	local program=$1 loops=$2 scoped=$3 round variant

	start_target traced "$programs/$program" "$target_cpu" "$tool_cpu"
	start_target bystander "$programs/$program" "$target_cpu" "$tool_cpu"
	ask traced pair 4 1 300
	for ((round = 1; round <= ROUNDS; round++)); do
		note "loops of $program, round $round of $ROUNDS"
		run_loops bare "$loops$scoped"
		for variant in "${variants[@]:1}"; do
			trace_loops "$variant" "$loops" || { tracer_failed "$variant"; continue; }
			[[ $program == pairs ]] || continue
			sample attach "$variant" "$attach_ms"
			sample detach "$variant" "$exit_ms"
			sample maps "$variant" "$(awk "BEGIN { print $maps_kb / 1024 }")"
		done
		[[ -z $scoped ]] || trace_loops leaksweep "$scoped" --scope process || tracer_failed leaksweep
	done
	stop_target traced
	stop_target bystander
}

# What one frame more costs a walk: the rest of the way from 10 to 40 frames, without what the calls themselves cost.
measure_frame()
{
	local slope

	slope=$(awk '
		{ key = $1 " " $2 }
		!(key in best) || $3 < best[key] { best[key] = $3 }
		END {
			traced = best["shift40 leaksweep"] - best["shift10 leaksweep"]
			bare = best["shift40 bare"] - best["shift10 bare"]
			printf "%.1f", (traced - bare) / 30
		}' "$samples")
	sample frame leaksweep "$slope"
}

# ---- redis ------------------------------------------------------------------------------------------------

redis_benchmark()
{
	$on_tool redis-benchmark -s "$work/redis.sock" -P 8 -c 20 -d 64 -r 100000 -n "$1" -t "$2" --csv
}

# measure_redis ROW_PREFIX PRELOAD VARIANT...
measure_redis()
{
	local prefix=$1 preload=$2 round variant name rate tries=0

	shift 2
	$on_target env ${preload:+LD_PRELOAD=$preload} redis-server --port 0 --unixsocket "$work/redis.sock" \
		--save "" --appendonly no --dir "$work" > "$work/redis.log" 2>&1 &
	pids[redis]=$!
	until redis_benchmark 200000 set > /dev/null 2>&1; do
		((++tries < 20)) || { note "redis-server does not answer"; stop redis; return; }
		sleep 0.2
	done
	for ((round = 1; round <= ROUNDS; round++)); do
		note "$prefix, round $round of $ROUNDS"
		for variant in "$@"; do
			[[ " ${variants[*]} " == *" $variant "* ]] || continue
			if [[ $variant != bare ]]; then
				start_tracer "$variant" "${pids[redis]}" || { tracer_failed "$variant"; continue; }
			fi
			while IFS=, read -r name rate; do
				sample "${prefix}_${name,,}" "$variant" "$rate"
			done < <(redis_benchmark "$REQUESTS" set,get | tr -d '"' | awk -F, '$1 ~ /^(SET|GET)$/ { print $1 "," $2 }')
			[[ $variant == bare ]] || stop_tracer || tracer_failed "$variant"
		done
	done
	stop redis
}

# ---- the report -------------------------------------------------------------------------------------------

# hold_blocks VARIANT ROW [OPTION...]: one report, its times and its memory
hold_blocks()
{
	local variant=$1 row=$2

	shift 2
	start_target holder "$programs/stacks" "$HELD_BLOCKS" "$HELD_STACKS"
	read -r -t 10 answer <&"${from[holder]}" || die "the program that holds blocks does not start"
	if start_tracer "$variant" "${pids[holder]}" "$@" && ask holder && stop_tracer; then
		sample "$row" "$variant" "$report_ms"
		sample "${row}_exit" "$variant" "$exit_ms"
		sample "${row}_peak" "$variant" "$(awk "BEGIN { print $peak_kb / 1024 }")"
	else
		tracer_failed "$variant"
	fi
	stop_target holder
}

measure_report()
{
	local round

	for ((round = 1; round <= ROUNDS; round++)); do
		note "report, round $round of $ROUNDS"
		hold_blocks leaksweep report
		[[ $round -le $SLOW_ROUNDS ]] || continue
		[[ " ${variants[*]} " != *" memleak "* ]] || hold_blocks memleak report
		hold_blocks leaksweep json -f json
	done
}

# name_functions ROW [OPTION...]: a report of 10 000 functions; with an interval, the second one
name_functions()
{
	local row=$1 tries=0

	shift
	start_target holder "$programs/names"
	read -r -t 10 answer <&"${from[holder]}" || die "the program with the functions does not start"
	start_tracer leaksweep "${pids[holder]}" -f json "$@" || tracer_failed leaksweep
	ask holder
	if (($# > 0)); then
		until [[ -e $work/report ]]; do
			((++tries < 600)) || die "leaksweep writes no report at intervals"
			sleep 0.05
		done
		rm -f "$work/report"
	fi
	stop_tracer || tracer_failed leaksweep
	sample "$row" leaksweep "$report_ms"
	stop_target holder
}

measure_names()
{
	local round

	for ((round = 1; round <= ROUNDS && round <= SLOW_ROUNDS; round++)); do
		note "names, round $round"
		name_functions names_cold
		name_functions names_warm --interval 2s
	done
}

# ---- all of it --------------------------------------------------------------------------------------------

began=$SECONDS
load=$(cut -d' ' -f1 /proc/loadavg)
redis_note=""
if [[ $what == anatomy ]]; then
	measure_loops pairs "$anatomy_loops" ""
elif [[ $what == all || $what == table ]]; then
	measure_loops pairs "$table_loops" "$scoped_loops"
	measure_loops pairs_nofp "$whole_loops" ""
	measure_frame
	if command -v redis-server > /dev/null && command -v redis-benchmark > /dev/null; then
		# memleak finds no mmap in jemalloc and gives up, so the common row runs the same server on libc's malloc.
		measure_redis redis libc.so.6 "${variants[@]}"
		measure_redis jemalloc "" bare leaksweep
	else
		redis_note="redis not measured: install redis-server and redis-tools"
		note "$redis_note"
	fi
	measure_report
	measure_names
fi
if [[ $what == all || $what == walks ]]; then
	# shellcheck source=tests/bench/walks.sh
	. "$here/walks.sh"
	measure_walks
fi
if [[ $what == all || $what == python ]]; then
	# shellcheck source=tests/bench/python.sh
	. "$here/python.sh"
	measure_pythons
fi
if [[ $what == all || $what == scale ]]; then
	# shellcheck source=tests/bench/scale.sh
	. "$here/scale.sh"
	measure_scale
fi
status=0
if [[ $what == sweep ]]; then
	# shellcheck source=tests/bench/sweep.sh
	. "$here/sweep.sh"
	measure_sweep || status=1
fi
if [[ $what == services ]]; then
	# shellcheck source=tests/bench/services.sh
	. "$here/services.sh"
	measure_services || status=1
fi

model=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
{
	echo "kernel $(uname -r), ${#cpus[@]} CPUs (${model:-$(uname -m)}), load $load before, $((SECONDS - began)) s"
	[[ -z $peer_note ]] || echo "$peer_note"
	[[ $what != all && $what != table ]] || echo "memleak's report, the JSON reports: $SLOW_ROUNDS rounds at most"
	[[ -z $redis_note ]] || echo "$redis_note"
} > "$work/notes"
if [[ " walks python scale sweep services " == *" $what "* ]]; then
	cat "$work/notes"
else
	awk -v rounds="$ROUNDS" -v notes="$work/notes" -f "$here/rows.awk" -f "$here/table.awk" "$here/rows.tsv" "$samples"
fi
if [[ $what == all || $what == walks ]]; then
	echo
	cat "$work/walks"
fi
if [[ $what == all || $what == python ]]; then
	echo
	cat "$work/pythons"
fi
if [[ $what == all || $what == scale ]]; then
	echo
	cat "$work/scale"
fi
if [[ $what == sweep || $what == services ]]; then
	echo
	cat "$work/$what"
fi
[[ $status -eq 0 ]]
