# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# The tool on a busy host: `trace -a` beside 100 and 1 000 processes (tests/storm/crowd.c), and while programs are
# executed at 500 a second (tests/storm/storm.c): once it starts in the middle of that, once it is there before and
# counts them. Sourced by run.sh; SCALE_PROCESSES="100 1000", STORM_RATE=500, STORM_SECONDS=10, STEADY_SECONDS=5.
# Whatever else runs on the host is traced as well, so it should be quiet: strangers that ended count as ended, too,
# and can hide as many that were missed.

SCALE_PROCESSES=${SCALE_PROCESSES:-100 1000}
STORM_RATE=${STORM_RATE:-500}
STORM_SECONDS=${STORM_SECONDS:-10}
STEADY_SECONDS=${STEADY_SECONDS:-5}
leakers=$OUTPUT/leakers
ticks=$(getconf CLK_TCK)

# scale_driver NAME COMMAND...: one of the drivers, with its input and output ours; returns when it is READY
scale_driver()
{
	local name=$1 program=$2

	shift 2
	mkdir -p "$work/$name"
	on_target="" start_target "$name" "$leakers/$program" "$work/$name" "$@"
	read -r -t 120 answer <&"${from[$name]}" || die "$program does not start"
}

# scale_end_driver NAME: lets it go, its files too
scale_end_driver()
{
	echo >&"${to[$1]}"
	wait "${pids[$1]}" || die "the driver $1 failed"
	stop_target "$1"
	rm -rf "${work:?}/$1"
}

# scale_start_tool: sets tool_pid, probe_ms, attach_ms
scale_start_tool()
{
	rm -f "$work/report"
	: > "$work/times"
	$first "$programs/tool_run" "$work/log" "leaksweep: tracing" "$work/report" 120 "$tool" trace -a -f json \
		-o "$work/report" --cache-dir "$work/tables" > "$work/times" &
	pids[tracer]=$!
	until grep -q ^probe "$work/times"; do
		kill -0 "${pids[tracer]}" 2> /dev/null || { unset "pids[tracer]"; tracer_failed leaksweep; }
		sleep 0.02
	done
	read -r probe_ms tool_pid < <(awk '$1 == "probe" { print $2, $3 }' "$work/times")
	attach_ms=$(awk '$1 == "ready" { print $2 }' "$work/times")
}

# CPU time of the tool in ticks, its resident memory in KiB, its descriptors
scale_cpu()
{
	awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$tool_pid/stat"
}

scale_own()
{
	awk '$1 == "RssAnon:" { print $2 }' "/proc/$tool_pid/status"
}

scale_fds()
{
	find "/proc/$tool_pid/fd" -mindepth 1 | wc -l
}

# scale_cpu_percent TICKS SECONDS
scale_cpu_percent()
{
	awk "BEGIN { printf \"%.1f\", 100 * $1 / $ticks / $2 }"
}

scale_row()
{
	printf '%-22s %9s %9s %9s %8s %8s %8s %6s %9s\n' "$@" >> "$work/scale"
}

# scale_at PROCESSES CACHE: one row
scale_at()
{
	local processes=$1 cache=$2 started before own fds cpu

	scale_start_tool
	started=$(awk "BEGIN { printf \"%.2f\", $(scale_cpu) / $ticks }")
	before=$(scale_cpu)
	sleep "$STEADY_SECONDS"
	cpu=$(scale_cpu_percent "$(($(scale_cpu) - before))" "$STEADY_SECONDS")
	own=$(scale_own)
	fds=$(scale_fds)
	stop_tracer || tracer_failed leaksweep
	scale_row "$processes, $cache" "$(scale_seconds "$probe_ms")" "$(scale_seconds "$attach_ms")" "$started" "$cpu" \
		"$((own / 1024))" "$((maps_kb / 1024))" "$fds" "$(scale_seconds "$report_ms")"
}

scale_seconds()
{
	awk "BEGIN { printf \"%.2f\", $1 / 1000 }"
}

# scale_number NAME TEXT: a member of a JSON object
scale_number()
{
	sed -n "s/.*\"$1\": *\([0-9]*\).*/\1/p" <<< "$2"
}

# What the report says of a storm, in two lines. It can have hundreds of MB: only its counters are looked at.
scale_missed()
{
	local total=$1 loss ended processes execs elapsed walked cut

	loss=$(grep -aom1 '"loss":{[^}]*}' "$work/report")
	ended=$(scale_number processes "$(grep -aom1 '"ended":{[^}]*}' "$work/report")")
	processes=$(scale_number processes "$total")
	execs=$(scale_number execs "$total")
	elapsed=$(scale_number elapsed_ms "$total")
	walked=$(scale_number stacks_walked "$loss")
	cut=$(scale_number stacks_no_table "$loss")
	awk "BEGIN {
		missed = $processes > $ended ? $processes - $ended : 0
		printf \"$processes processes, $execs execs in %.1f s (%.0f a second): \", $elapsed / 1000, $execs * 1000 / $elapsed
		printf \"$ended ended in the report, %.1f %% missed\\n\", 100 * missed / $processes
		printf \"%.1f %% of stacks cut for want of a table, \", $walked ? 100 * $cut / $walked : 0
	}"
	echo "$(scale_number events_lost "$loss") events lost, $(scale_number spaces_full "$loss") processes without room"
}

# scale_await_storm: sets total, the storm's last word
scale_await_storm()
{
	total=
	while [[ $total != TOTAL* ]]; do
		read -r -t 300 total <&"${from[storm]}" || die "the storm does not end"
	done
}

# scale_start_in_storm PROCESSES: a row of a tool that starts when the storm has raged for a second
scale_start_in_storm()
{
	local total

	scale_driver storm storm "$STORM_SECONDS" 7 "$STORM_RATE"
	echo >&"${to[storm]}"
	sleep 1
	scale_at "$1" "cold, storm"
	scale_await_storm
	(($(scale_number elapsed_ms "$total") > 1000 + ${attach_ms%.*})) ||
		die "the storm was over before the tool was ready: use a larger STORM_SECONDS"
	scale_end_driver storm
}

# scale_storm PROCESSES: beside them, so many executions a second, all of them traced
scale_storm()
{
	local processes=$1 before began own_before fds_before cpu total

	scale_driver storm storm "$STORM_SECONDS" 7 "$STORM_RATE"
	scale_start_tool
	sleep 1
	own_before=$(scale_own)
	fds_before=$(scale_fds)
	before=$(scale_cpu)
	began=$EPOCHREALTIME
	echo >&"${to[storm]}"
	scale_await_storm
	cpu=$(scale_cpu_percent "$(($(scale_cpu) - before))" "$(awk "BEGIN { print $EPOCHREALTIME - $began }")")
	{
		echo "storm beside $processes processes: the tool used $cpu % of a CPU," \
			"$((own_before / 1024)) -> $(($(scale_own) / 1024)) MiB, $fds_before -> $(scale_fds) descriptors"
	} > "$work/storm.note"
	stop_tracer || tracer_failed leaksweep
	scale_missed "${total#TOTAL }" >> "$work/storm.note"
	scale_end_driver storm
}

measure_scale()
{
	local processes

	: > "$work/scale"
	scale_row "processes, cache" "probe s" "tracing s" "CPU s" "CPU %" "RSS MiB" "maps MiB" fds "report s"
	for processes in $SCALE_PROCESSES; do
		note "$processes processes"
		scale_driver crowd crowd "$processes" 200 100
		rm -rf "$work/tables"
		scale_at "$processes" cold
		scale_at "$processes" warm
		[[ $processes == "${SCALE_PROCESSES##* }" ]] || { scale_end_driver crowd; continue; }
		note "storm"
		rm -rf "$work/tables"
		scale_start_in_storm "$processes"
		scale_storm "$processes"
		scale_end_driver crowd
	done
	{
		echo "probe: from the start to the first probe; tracing: to the last; CPU s: until then; CPU %: of one CPU, after"
		echo
		cat "$work/storm.note"
	} >> "$work/scale"
}
