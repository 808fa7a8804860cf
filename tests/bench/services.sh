# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154 # run.sh has the other half
# What the sweep costs services under load that were not written here, and whether it calls them leaking: periods
# without and with it, by turns (services_run.py), of each service as it is and made to grow slowly; and each for ten
# minutes as it is. Sourced by run.sh.
#
#   SERVICES="redis nginx postgres json"   which of them
#   SERVICES_FORMS="plain grows long"      as it is, growing, so that probes are really put into it, and as it is
#                                          without pairs, beside one sweep of budget 1
#   SERVICES_BUDGETS="1 2 5"               of the pairs
#   PAIRS=10                               pairs of periods, of each service, form and budget
#   SERVICES_SECONDS=20                    of each period
#   SERVICES_MINUTES=10                    of each service without pairs
#   SERVICES_WARM=20                       seconds of load before the first
#   SERVICES_LEAD=                         under a sweep before it is measured: 20, and 75 where it opens windows
#   SERVICES_APART=1                       the sweep sees nobody but the service, by a control group
#   SERVICES_OPTIONS=""                    more options for it
#   SERVICES_KEEP=FILE                     what is seen is added there, and all that is in it judged
#                                          (services_table.py); else a new file in OUTPUT
#   JUDGE=1                                nothing is run, what is in SERVICES_KEEP is judged
#   QUICK=1                                one pair of 10 s each, budget 1, and no more is asked for: minutes
#
# All of it takes about six hours, and may be run in pieces: some of the services, forms and budgets, or fewer pairs,
# into one SERVICES_KEEP. Until the last piece the verdict is that some are missing. A run that failed falls short.

services_asked=()
if [[ -n ${QUICK:-} ]]; then
	SERVICES=${SERVICES:-redis nginx postgres json}
	SERVICES_FORMS=${SERVICES_FORMS:-plain grows}
	SERVICES_BUDGETS=${SERVICES_BUDGETS:-1}
	SERVICES_MINUTES=${SERVICES_MINUTES:-1}
	PAIRS=${PAIRS:-1}
	SERVICES_SECONDS=${SERVICES_SECONDS:-10}
	SERVICES_WARM=${SERVICES_WARM:-5}
	services_asked=(--services "$SERVICES" --forms "$SERVICES_FORMS" --budgets "$SERVICES_BUDGETS" --pairs "$PAIRS"
		--minutes "$SERVICES_MINUTES")
fi
SERVICES=${SERVICES:-redis nginx postgres json}
SERVICES_FORMS=${SERVICES_FORMS:-plain grows long}
SERVICES_BUDGETS=${SERVICES_BUDGETS:-1 2 5}

# services_run SERVICE FORM BUDGET
services_run()
{
	local service=$1 form=$2 budget=$3
	local -A lead=([plain]=20 [grows]=75 [long]=0)
	local -a how=(--budget "$budget" --warm "${SERVICES_WARM:-20}" --lead "${SERVICES_LEAD:-${lead[$form]}}")

	[[ -n ${lead[$form]:-} ]] || die "no such form: $form"
	case $form in
	long) how+=(--minutes "${SERVICES_MINUTES:-10}") ;;
	*) how+=(--pairs "${PAIRS:-10}" --seconds "${SERVICES_SECONDS:-20}") ;;
	esac
	[[ $form != grows ]] || how+=(--grows)
	note "$service, $form, budget $budget %"
	TMPDIR=$work python3 -B "$here/services_run.py" --tool "$tool" --out "$SERVICES_KEEP" --service "$service" \
		"${how[@]}" --options="${SERVICES_OPTIONS:-}" --service-cpu "$target_cpu" --load-cpu "$tool_cpu" \
		${SERVICES_APART:+--apart} &
	pids[services]=$!
	wait "${pids[services]}" || services_failed=1 # this is not the tool's failure
	unset "pids[services]"
}

services_runs()
{
	local form service budget budgets

	for form in $SERVICES_FORMS; do
		budgets=$SERVICES_BUDGETS
		[[ $form != long ]] || budgets=1
		for service in $SERVICES; do
			for budget in $budgets; do
				services_run "$service" "$form" "$budget"
			done
		done
	done
}

# Fails if a run failed, or if the sweep falls short of what is asked.
measure_services()
{
	local services_failed=0

	check_judge services
	open_keep services SERVICES_KEEP
	if [[ -z ${JUDGE:-} ]]; then
		"$here/../lib/install-deps.sh" bench > "$work/log" 2>&1 || die "$(tail -n 1 "$work/log")"
		chmod 711 "$work" # PostgreSQL runs as another user
		services_runs
	fi
	python3 -B "$here/services_table.py" "${services_asked[@]}" "$SERVICES_KEEP" > "$work/services" || services_failed=1
	[[ $services_failed -eq 0 ]]
}
