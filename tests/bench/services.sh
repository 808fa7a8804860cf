# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154 # run.sh has the other half
# What the sweep costs services under load that were not written here, and whether it calls them leaking: periods
# without and with it, by turns (services_run.py), of each service as it is and made to grow slowly. Sourced by run.sh.
#
#   SERVICES="redis nginx postgres json"   which of them
#   SERVICES_FORMS="plain grows"           as it is, and growing, so that probes are really put into it
#   SERVICES_BUDGETS="1 2 5"
#   PAIRS=10                               pairs of periods, of each service, form and budget
#   SERVICES_SECONDS=20                    of each period
#   SERVICES_WARM=20                       seconds of load before the first
#   SERVICES_LEAD=                         under a sweep before it is measured: 20, and 60 where it opens windows
#   SERVICES_MINUTES=10                    no pairs: each service as it is for so long beside the sweep, budget 1
#   SERVICES_APART=1                       the sweep sees nobody but the service, by a control group
#   SERVICES_OPTIONS=""                    more options for it
#   SERVICES_KEEP=FILE                     what is seen is added there, and all that is in it judged (services_table.py)
#   QUICK=1                                one pair of 5 s each, budget 1: minutes
#
# All of it takes about five hours.

if [[ -n ${QUICK:-} ]]; then
	PAIRS=${PAIRS:-1}
	SERVICES_BUDGETS=${SERVICES_BUDGETS:-1}
	SERVICES_SECONDS=${SERVICES_SECONDS:-5}
	SERVICES_WARM=${SERVICES_WARM:-5}
fi
if [[ -n ${SERVICES_MINUTES:-} ]]; then
	SERVICES_BUDGETS=${SERVICES_BUDGETS:-1}
	SERVICES_FORMS=${SERVICES_FORMS:-plain}
fi
SERVICES=${SERVICES:-redis nginx postgres json}
SERVICES_FORMS=${SERVICES_FORMS:-plain grows}
SERVICES_BUDGETS=${SERVICES_BUDGETS:-1 2 5}
SERVICES_KEEP=${SERVICES_KEEP:-$work/services.runs}

# services_run SERVICE FORM BUDGET: a run that fails is told, and counts for nothing
services_run()
{
	local service=$1 form=$2 budget=$3 lead=20 grows=

	[[ $form == plain ]] || { lead=60; grows=1; }
	note "$service, $form, budget $budget %"
	TMPDIR=$work python3 -B "$here/services_run.py" --tool "$tool" --out "$SERVICES_KEEP" --service "$service" \
		--budget "$budget" --pairs "${PAIRS:-10}" --seconds "${SERVICES_SECONDS:-20}" --warm "${SERVICES_WARM:-20}" \
		--lead "${SERVICES_LEAD:-$lead}" --minutes "${SERVICES_MINUTES:-0}" --options="${SERVICES_OPTIONS:-}" \
		--service-cpu "$target_cpu" --load-cpu "$tool_cpu" ${grows:+--grows} ${SERVICES_APART:+--apart} &
	pids[services]=$!
	wait "${pids[services]}" || services_failed=1
	unset "pids[services]"
}

# Fails if a run failed, or if the sweep falls short of what is asked.
measure_services()
{
	local service form budget services_failed=0

	"$here/../lib/install-deps.sh" bench > "$work/log" 2>&1 || die "$(tail -n 1 "$work/log")"
	python3 -B "$here/services_test.py" 2> "$work/log" || { cat "$work/log" >&2; die "what judges the runs is wrong"; }
	: >> "$SERVICES_KEEP"
	chmod 711 "$work" # PostgreSQL runs as another user
	for form in $SERVICES_FORMS; do
		for service in $SERVICES; do
			for budget in $SERVICES_BUDGETS; do
				services_run "$service" "$form" "$budget"
			done
		done
	done
	python3 -B "$here/services_table.py" "$SERVICES_KEEP" > "$work/services" || services_failed=1
	[[ $services_failed -eq 0 ]]
}
