# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2034,SC2154 # run.sh has the other half
# What tracing a Python costs, beside tracemalloc in the same interpreter. Read by run.sh, whose functions it uses.
#
# Measured are Debian's python3 (or the first one that is found) and the interpreter that the variable PYTHON names. The
# first is copied, to another name: whoever else traces Pythons on this host has probes in the system's file.
#
# An object is what pymalloc gives out: a list is two of them, itself and its array. How many a step takes is counted
# in a run of its own under the probes (hits_object); beside it stands what sys.getallocatedblocks() says of a thousand
# kept results, which holds no temporary ones and is no use for JSON. Times are divided by the former; they include
# giving the object back, and the few calls of malloc that some steps make too (blocks above 512 bytes).

HELD_OBJECTS=1000000
HELD_MODULES=200
SLEEP_MS=300
object_ops="lists dicts instances strings loads dumps"

declare -A steps_per_count=([loads]=20 [dumps]=20)
declare -A objects=()

# start_python NAME [ARG...]
start_python()
{
	local name=$1

	shift
	start_target "$name" "$python" -I "$here/python.py" "$@"
	read -r -t 60 answer <&"${from[$name]}" || die "$python does not run tests/bench/python.py"
}

# Leaves in $hits how many objects the probes saw in so many steps; empty when the tool gives none.
count_hits()
{
	local op=$1 steps=$2

	start_tracer leaksweep "${pids[python]}" -f json --python-frees || tracer_failed leaksweep
	ask python "$op" steps "$steps"
	stop_tracer || tracer_failed leaksweep
	hits=$(head -n 1 "$work/report" | grep -o '"hits_object":[0-9]*' | cut -d: -f2) || hits=""
}

# Fills objects[OP], the objects of each step, and the notes.
count_objects()
{
	local op steps hits kept counted=""

	for op in $object_ops; do
		steps=${steps_per_count[$op]:-20000}
		count_hits "$op" "$steps"
		[[ ${hits:-0} -gt 0 ]] || return 1
		objects[$op]=$(awk "BEGIN { print $hits / $steps }")
		kept=""
		if [[ -z ${steps_per_count[$op]:-} ]]; then
			ask python blocks "$op"
			kept=$(printf " (%.2f)" "$answer")
		fi
		counted+=", $op $(printf "%.2f" "${objects[$op]}")$kept"
	done
	echo "objects per step, as probes see them (getallocatedblocks() of what is kept): ${counted#, }" >> "$python_notes"
}

# time_op TARGET ROW VARIANT OP HOW NUMBER: one measurement, per object or step
time_op()
{
	local target=$1 row=$2 variant=$3 op=$4

	shift 3
	ask "$target" "$@"
	sample_answer "$row" "$variant" "$op"
}

# The same from $answer
sample_answer()
{
	local row=$1 variant=$2 op=$3 unit=${objects[$3]:-1}

	[[ $op != sleep ]] || unit=1000
	sample "$row" "$variant" "$(awk -v unit="$unit" '{ print $2 / $1 / unit }' <<< "$answer")"
}

time_all()
{
	local op i

	for op in $object_ops; do
		time_op python "$op" "$1" "$op" "for" "$RUN_MS"
	done
	# What is expected to cost nothing is looked at more often.
	for ((i = 0; i < 4; i++)); do
		time_op python compute "$1" compute "for" $((RUN_MS / 2))
		time_op python sleep "$1" sleep "for" "$SLEEP_MS"
	done
}

# time_traced VARIANT [OPTION...]
time_traced()
{
	local variant=$1 op

	shift
	start_tracer leaksweep "${pids[python]}" "$@" || tracer_failed leaksweep
	# Tables are loaded at the first sight of what they are of.
	for op in $object_ops; do
		ask python "$op" "for" 20
	done
	time_all "$variant"
	stop_tracer || tracer_failed leaksweep
}

time_tracemalloc()
{
	ask python tracemalloc "$1"
	time_all "malloc$1"
	ask python tracemalloc 0
}

measure_objects()
{
	local round

	start_python python
	count_objects || { note "$name: no objects seen, it is not measured"; stop_target python; return 1; }
	for ((round = 1; round <= ROUNDS; round++)); do
		note "objects of $name, round $round of $ROUNDS"
		time_all bare
		time_traced default
		time_traced frames --no-python-objects
		time_traced frees --python-frees
		time_tracemalloc 1
		time_tracemalloc 25
	done
	stop_target python
}

# ---- a big process ----------------------------------------------------------------------------------------

trace_held()
{
	start_tracer leaksweep "${pids[held]}" || tracer_failed leaksweep
	stop_tracer || tracer_failed leaksweep
}

measure_attach()
{
	local round

	for ((round = 1; round <= ROUNDS; round++)); do
		note "a big $name, round $round of $ROUNDS"
		rm -rf "$work/tables"
		trace_held
		sample attach_cold leaksweep "$attach_ms"
		trace_held
		sample attach_warm leaksweep "$attach_ms"
		sample attached leaksweep "$report_ms"
		sample attached_exit leaksweep "$exit_ms"
		sample attached_peak leaksweep "$(awk "BEGIN { print $peak_kb / 1024 }")"
	done
}

# run_census ROW
run_census()
{
	local start=$EPOCHREALTIME

	$on_tool "$tool" census -p "${pids[held]}" > "$work/census" 2> "$work/log" ||
		{ note "census failed: $(tail -n 1 "$work/log")"; return 1; }
	sample "$1" leaksweep "$(awk "BEGIN { print 1000 * ($EPOCHREALTIME - $start) }")"
}

# census_during OP ROW CENSUS_ROW: the target goes on with OP until the census is there
census_during()
{
	local op=$1 row=$2 failed=0

	time_op held "$row" bare "$op" "for" "$RUN_MS"
	echo "$op until 0" >&"${to[held]}"
	sleep 0.02
	run_census "$3" || failed=1
	echo >&"${to[held]}"
	read -r -t 60 answer <&"${from[held]}" || die "the big $python stopped answering"
	sample_answer "$row" leaksweep "$op"
	return $failed
}

measure_census()
{
	local round

	if ! "$tool" census --help > /dev/null 2>&1; then
		echo "census not measured: this leaksweep has no such command" >> "$python_notes"
		return
	fi
	for ((round = 1; round <= ROUNDS; round++)); do
		note "census of a big $name, round $round of $ROUNDS"
		run_census census && census_during lists census_lists census_busy &&
			census_during compute census_compute census_computing && continue
		echo "census failed: $(tail -n 1 "$work/log")" >> "$python_notes"
		break
	done
}

# ---- all of it --------------------------------------------------------------------------------------------

# measure_interpreter PROGRAM NAME
measure_interpreter()
{
	local python=$1 name=$2 samples=$work/python.samples python_notes=$work/python.notes held_modules held_blocks

	: > "$samples"
	{
		"$python" -c 'import sys; print(sys.argv[1] + ":", sys.version.replace("\n", ""))' "$name"
		echo "ns for each object made and given back; leaksweep trace -p: as it is, --no-python-objects, --python-frees;" \
			"tracemalloc: 1 and 25 frames"
	} > "$python_notes"
	rm -rf "$work/tables"
	measure_objects || return
	start_python held "$HELD_OBJECTS" "$HELD_MODULES"
	ask held modules
	read -r held_modules held_blocks <<< "$answer"
	measure_attach
	measure_census
	stop_target held
	awk -v rounds="$ROUNDS" -v notes="$python_notes" -v blocks="$held_blocks" -v modules="$held_modules" \
		-f "$here/rows.awk" -f "$here/python.awk" "$here/python.tsv" "$samples" >> "$work/pythons"
	echo >> "$work/pythons"
}

measure_pythons()
{
	local python=/usr/bin/python3

	: > "$work/pythons"
	[[ -x $python ]] || python=$(command -v python3) || python=""
	if [[ -n $python ]]; then
		cp "$python" "$work/bench-python"
		measure_interpreter "$work/bench-python" "$python"
	else
		echo "python not measured: install python3" >> "$work/pythons"
	fi
	if [[ -n ${PYTHON:-} ]]; then
		[[ -x $PYTHON ]] || die "PYTHON=$PYTHON is no program"
		measure_interpreter "$PYTHON" "$PYTHON"
	fi
}
