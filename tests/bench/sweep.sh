# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154 # run.sh has the other half
# Whether the sweep names what leaks, in time, and nothing else: services that leak, cache, load or only churn
# (sweep_cases.py), under `leaksweep sweep`. Sourced by run.sh.
#
#   SWEEP_RUNS=20          runs of each service
#   SWEEP_SECONDS=300      of each run
#   SWEEP_CASES="leak10"   which services, all; one may be there several times
#   SWEEP_AT_ONCE=1        services under one sweep, which share its budget
#   SWEEP_BESIDE=5         sweeps beside each other, each with services of its own; above 1 they see no others
#   SWEEP_APART=1          so does a single one
#   SWEEP_BUDGET=1         its --budget; empty = no such option
#   SWEEP_OPTIONS=""       more options for it
#   SWEEP_KEEP=FILE        what is seen is added there, and all that is in it judged (sweep_table.py); else a new file
#                          in OUTPUT
#   JUDGE=1                nothing is run, what is in SWEEP_KEEP is judged
#   QUICK=1                one run of 90 s of the fast leak and of a cache, and no more is asked for
#
# All of it takes about four hours, and may be run in pieces: fewer runs, or some of the services, into one SWEEP_KEEP.
# Until the last piece the verdict is that runs are missing. A run that fails counts as a leak that was not named.

sweep_asked=()
if [[ -n ${QUICK:-} ]]; then
	SWEEP_CASES=${SWEEP_CASES:-leak10 cache}
	SWEEP_RUNS=${SWEEP_RUNS:-1}
	SWEEP_SECONDS=${SWEEP_SECONDS:-90}
	sweep_asked=(--cases "$SWEEP_CASES" --runs "$SWEEP_RUNS" --seconds "$SWEEP_SECONDS")
fi
SWEEP_CASES=${SWEEP_CASES:-leak10 mmap cache startup plain leak1 dict retained replace lru leakcache}
SWEEP_RUNS=${SWEEP_RUNS:-20}
SWEEP_SECONDS=${SWEEP_SECONDS:-300}
SWEEP_AT_ONCE=${SWEEP_AT_ONCE:-1}
SWEEP_BESIDE=${SWEEP_BESIDE:-5}
[[ $SWEEP_BESIDE -eq 1 ]] || SWEEP_APART=1

# Sets $groups: the services of all runs, so many to each sweep
sweep_groups()
{
	local -a cases=() each
	local i

	read -ra each <<< "$SWEEP_CASES"
	for ((i = 0; i < SWEEP_RUNS; i++)); do
		cases+=("${each[@]}")
	done
	groups=()
	for ((i = 0; i < ${#cases[@]}; i += SWEEP_AT_ONCE)); do
		groups+=("$(IFS=,; echo "${cases[*]:i:SWEEP_AT_ONCE}")")
	done
}

# sweep_run NUMBER GROUP...: so many sweeps at once
sweep_run()
{
	local number=$1

	shift
	note "run $number: $*"
	python3 -B "$here/sweep_run.py" --tool "$tool" --leakers "$OUTPUT/leakers" --python "$sweep_python" \
		--out "$SWEEP_KEEP" --run "$number" --seconds "$SWEEP_SECONDS" --budget "${SWEEP_BUDGET-1}" \
		--options="${SWEEP_OPTIONS:-}" ${SWEEP_APART:+--apart} "$@" &
	pids[sweep]=$!
	wait "${pids[sweep]}" || sweep_failed=1 # this is not the tool's failure
	unset "pids[sweep]"
}

# Fails if a run failed, or if the sweep falls short of what is asked.
measure_sweep()
{
	local i groups sweep_failed=0 sweep_python=/usr/bin/python3

	[[ -x $sweep_python ]] || sweep_python=$(command -v python3) || die "python3 is missing"
	check_judge sweep
	open_keep sweep SWEEP_KEEP
	if [[ -z ${JUDGE:-} ]]; then
		sweep_groups
		for ((i = 0; i < ${#groups[@]}; i += SWEEP_BESIDE)); do
			sweep_run $((i / SWEEP_BESIDE + 1)) "${groups[@]:i:SWEEP_BESIDE}"
		done
	fi
	python3 -B "$here/sweep_table.py" "${sweep_asked[@]}" "$SWEEP_KEEP" > "$work/sweep" || sweep_failed=1
	[[ $sweep_failed -eq 0 ]]
}
