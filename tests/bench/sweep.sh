# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154 # run.sh has the other half
# Whether the sweep names what leaks, in time, and nothing else: services that leak, cache, load or only churn
# (sweep_cases.py), under `leaksweep sweep`. Sourced by run.sh.
#
#   SWEEP_RUNS=20          runs of each service
#   SWEEP_SECONDS=300      of each run
#   SWEEP_CASES="leak10"   which services, all; one may be there several times
#   SWEEP_AT_ONCE=5        services under one sweep
#   SWEEP_BESIDE=1         sweeps beside each other, each with services of its own; above 1 they see no others
#   SWEEP_APART=1          so does a single one
#   SWEEP_BUDGET=1         its --budget; empty = no such option
#   SWEEP_OPTIONS=""       more options for it
#   SWEEP_KEEP=FILE        what is seen is added there, and all that is in it judged (sweep_table.py)
#   QUICK=1                one run of 90 s of the fast leak and of a cache

sweep_cases="leak10 mmap cache startup plain leak1 dict retained replace lru"
if [[ -n ${QUICK:-} ]]; then
	sweep_cases="leak10 cache"
	SWEEP_RUNS=${SWEEP_RUNS:-1}
	SWEEP_SECONDS=${SWEEP_SECONDS:-90}
fi
SWEEP_CASES=${SWEEP_CASES:-$sweep_cases}
SWEEP_RUNS=${SWEEP_RUNS:-20}
SWEEP_SECONDS=${SWEEP_SECONDS:-300}
SWEEP_AT_ONCE=${SWEEP_AT_ONCE:-5}
SWEEP_BESIDE=${SWEEP_BESIDE:-1}
SWEEP_KEEP=${SWEEP_KEEP:-$work/sweep.runs}
[[ $SWEEP_BESIDE -eq 1 ]] || SWEEP_APART=1

# Sets $groups: the cases, so many to each sweep
sweep_groups()
{
	local -a cases
	local i

	read -ra cases <<< "$SWEEP_CASES"
	groups=()
	for ((i = 0; i < ${#cases[@]}; i += SWEEP_AT_ONCE)); do
		groups+=("$(IFS=,; echo "${cases[*]:i:SWEEP_AT_ONCE}")")
	done
}

# sweep_run NUMBER GROUP...: a run that fails is told, and counts for nothing
sweep_run()
{
	local number=$1

	shift
	note "run $number of $SWEEP_RUNS: $*"
	python3 -B "$here/sweep_run.py" --tool "$tool" --leakers "$OUTPUT/leakers" --python "$sweep_python" \
		--out "$SWEEP_KEEP" --run "$number" --seconds "$SWEEP_SECONDS" --budget "${SWEEP_BUDGET-1}" \
		--options="${SWEEP_OPTIONS:-}" ${SWEEP_APART:+--apart} "$@" &
	pids[sweep]=$!
	wait "${pids[sweep]}" || sweep_failed=1
	unset "pids[sweep]"
}

# Fails if a run failed, or if the sweep falls short of what is asked.
measure_sweep()
{
	local number i groups sweep_failed=0 sweep_python=/usr/bin/python3

	[[ -x $sweep_python ]] || sweep_python=$(command -v python3) || die "python3 is missing"
	: >> "$SWEEP_KEEP"
	sweep_groups
	for ((number = 1; number <= SWEEP_RUNS; number++)); do
		for ((i = 0; i < ${#groups[@]}; i += SWEEP_BESIDE)); do
			sweep_run "$number" "${groups[@]:i:SWEEP_BESIDE}"
		done
	done
	python3 -B "$here/sweep_table.py" "$SWEEP_KEEP" > "$work/sweep" || sweep_failed=1
	[[ $sweep_failed -eq 0 ]]
}
