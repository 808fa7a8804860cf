# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2034,SC2154 # run.sh has the other half
# Whole stacks of real programs: how many, how they end, what they cost. Read by run.sh, whose functions it uses.
#
# Each program is traced twice. The first run begins without unwind tables on disk and is short; the second one takes
# them from there and goes on until there are STACKS stacks. Nothing is kept on one CPU here: compiling the tables may
# use all of them.
#
# A program NAME is two functions: NAME_start starts it and leaves its pid in $walked (fails: it is not here), NAME_work
# lets it do something for a second or so. What is in $pids is stopped by us.

MAX_WALK_S=60 # for the work of one run
walk_programs=${PROGRAMS:-redis-server python3 perl compiler unwind_threads postgres}

work_once()
{
	ask worker work
	[[ $answer == "done" ]] || { note "a traced program failed: $(tail -n 1 "$work/worker.log")"; return 1; }
}

# start_worker CMD...: a program that does something for each line it reads, and then says "done". It has begun when
# this returns.
start_worker()
{
	start_target worker "$@" 2> "$work/worker.log"
	walked=${pids[worker]}
	work_once
}

redis-server_start()
{
	local tries=0

	command -v redis-server > /dev/null && command -v redis-benchmark > /dev/null || return 1
	redis-server --port 0 --unixsocket "$work/walk.sock" --save "" --appendonly no --dir "$work" > "$work/redis.log" 2>&1 &
	pids[walked]=$!
	walked=$!
	until redis-benchmark -s "$work/walk.sock" -n 1000 -t set > /dev/null 2>&1; do
		((++tries < 50)) || return 1
		sleep 0.1
	done
}

redis-server_work()
{
	redis-benchmark -s "$work/walk.sock" -P 8 -c 20 -d 64 -r 100000 -n 20000 -t set,lpush,sadd,hset -q > "$work/worker.log" 2>&1
}

python3_start()
{
	local python=/usr/bin/python3

	[[ -x $python ]] || python=$(command -v python3) || return 1
	start_worker "$python" "$here/walk.py"
}

python3_work()
{
	work_once
}

perl_start()
{
	command -v perl > /dev/null || return 1
	start_worker perl "$here/walk.pl"
}

perl_work()
{
	work_once
}

# A shell that starts the compiler again and again: processes that live for some seconds.
compiler_start()
{
	local compiler

	compiler=$(command -v clang++ || command -v g++) || return 1
	title=${compiler##*/}
	# shellcheck disable=SC2016
	start_worker bash -c 'while read -r _; do "$0" -O1 -c -o /dev/null "$1" && echo done || echo failed; done' \
		"$compiler" "$here/walk.cc"
}

compiler_work()
{
	work_once
}

unwind_threads_start()
{
	[[ -x $OUTPUT/leakers/unwind_threads ]] || return 1
	"$OUTPUT/leakers/unwind_threads" 3 > "$work/threads.log" 2>&1 &
	pids[walked]=$!
	walked=$!
	title="C++ threads"
}

unwind_threads_work()
{
	sleep 1
	kill -0 "${pids[walked]}" 2> /dev/null || { note "unwind_threads has ended"; return 1; }
}

# Prints where a program of PostgreSQL is: Debian keeps them out of PATH, or behind a script.
postgres_program()
{
	local newest

	newest=$(find /usr/lib/postgresql -maxdepth 3 -path "*/bin/$1" -perm -u+x 2> /dev/null | sort -V | tail -n 1)
	if [[ -n $newest ]]; then
		echo "$newest"
	else
		command -v "$1"
	fi
}

postgres_start()
{
	local server initdb dir=$work/postgres user=postgres tries=0

	server=$(postgres_program postgres) && pgbench=$(postgres_program pgbench) || return 1
	initdb=${server%/*}/initdb
	[[ -x $initdb ]] && command -v setpriv > /dev/null || return 1
	id -u $user > /dev/null 2>&1 || user=nobody
	chmod 711 "$work"
	mkdir -p "$dir"
	chown "$user" "$dir"
	# It does not run as root.
	as_user=(setpriv --reuid "$user" --regid "$(id -g $user)" --clear-groups)
	if [[ ! -d $dir/data ]]; then
		(cd "$dir" && "${as_user[@]}" "$initdb" -D "$dir/data" -U bench -A trust --no-locale -N) > "$work/initdb.log" 2>&1 ||
			{ note "initdb: $(tail -n 1 "$work/initdb.log")"; return 1; }
	fi
	(cd "$dir" && exec "${as_user[@]}" "$server" -D "$dir/data" -k "$dir" -h "" -F) > "$work/postgres.log" 2>&1 &
	pids[walked]=$!
	walked=$!
	until "$pgbench" -i -q -s 1 -h "$dir" -U bench postgres > "$work/worker.log" 2>&1; do
		((++tries < 50)) || { note "PostgreSQL: $(tail -n 1 "$work/postgres.log")"; return 1; }
		sleep 0.1
	done
}

postgres_work()
{
	"$pgbench" -n -h "$work/postgres" -U bench -c 4 -t 1000 postgres > "$work/worker.log" 2>&1
}

# ---- one run ----------------------------------------------------------------------------------------------

# stacks_of REPORT: how many stacks were taken
stacks_of()
{
	head -n 1 "$1" | grep -Eo '"stacks_(walked|reused)":[0-9]+' | awk -F: '{ sum += $2 } END { print sum + 0 }'
}

# take_stacks PROGRAM RUN TIMES: lets it work under the tracer; its report is left in $work/walk.PROGRAM.RUN
take_stacks()
{
	local program=$1 run=$2 times=$3 began=$SECONDS i

	start_tracer leaksweep "$walked" -f json --top 1 --max-stacks 262144 || tracer_failed leaksweep
	for ((i = 0; i < times && SECONDS - began < MAX_WALK_S; i++)); do
		"${program}_work" || break
	done
	stop_tracer || tracer_failed leaksweep
	mv "$work/report" "$work/walk.$program.$run"
}

stop_walked()
{
	[[ -z ${pids[worker]:-} ]] || stop_target worker
	[[ -z ${pids[walked]:-} ]] || stop walked
}

# walk_program NAME: both runs. Fails when the program is not here.
walk_program()
{
	local program=$1 run times=1 taken

	rm -rf "$work/tables"
	for run in first cached; do
		"${program}_start" || { stop_walked; return 1; }
		take_stacks "$program" $run $times
		stop_walked
		taken=$(stacks_of "$work/walk.$program.$run")
		times=$((taken > 0 ? (STACKS * 21 / 20 + taken - 1) / taken : 1))
		echo "$title|$run|$work/walk.$program.$run" >> "$work/walked"
	done
	((taken >= STACKS)) || echo "$title: only $taken stacks in $MAX_WALK_S s" >> "$work/walk_notes"
}

measure_walks()
{
	local program title walked on_target="" on_tool=$first pgbench as_user

	: > "$work/walked"
	: > "$work/walk_notes"
	for program in $walk_programs; do
		note "stacks of $program"
		title=$program
		walk_program "$program" || echo "$title: not measured, it is not here" >> "$work/walk_notes"
	done
	awk -f "$here/walks.awk" "$work/walked" > "$work/walks"
	cat "$work/walk_notes" >> "$work/walks"
}
