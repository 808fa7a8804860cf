/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "report/sweep.h"

#include <errno.h>

#include "model/kept_code.h"
#include "model/profile.h"
#include "model/sweep_oom.h"
#include "report/json_fields.h"
#include "report/render.h"
#include "report/sweep_code.h"
#include "util/clock.h"

static void add_memory(struct fields *head, const struct sweep *sweep)
{
	struct fields memory, watched, overhead;

	fields__new(&memory);
	add_uint(&memory, "total_bytes", sweep->ram_bytes);
	add_uint(&memory, "available_bytes", sweep->available_bytes);
	add_fields(head, "memory", &memory);
	fields__new(&watched);
	add_uint(&watched, "processes", sweep->processes);
	add_uint(&watched, "cgroups", sweep->groups);
	add_uint(&watched, "left_out", sweep->left_out);
	add_fields(head, "watched", &watched);
	fields__new(&overhead);
	add_float(&overhead, "tool_cpu_percent", sweep->snap->overhead.tool_cpu_percent);
	add_uint(&overhead, "tool_bytes", sweep->snap->overhead.tool_bytes);
	if (sweep->budget_percent > 0) {
		add_float(&overhead, "budget_percent", sweep->budget_percent);
		add_float(&overhead, "spent_percent", sweep->spent_percent);
	} else {
		add_null(&overhead, "budget_percent");
		add_null(&overhead, "spent_percent");
	}
	add_fields(head, "overhead", &overhead);
}

static void add_states(struct fields *head, const struct sweep *sweep)
{
	struct fields states, suppressed;

	fields__new(&states);
	for (enum growth_state state = 0; state < GROWTH_STATE_CNT; state++)
		add_uint(&states, growth_state__name(state), sweep->states[state]);
	add_fields(head, "states", &states);
	fields__new(&suppressed);
	add_uint(&suppressed, "rows", sweep->suppressed_rows);
	add_uint(&suppressed, "stacks", sweep->suppressed_stacks);
	add_fields(head, "suppressed", &suppressed);
	add_uint(head, "growing_total", sweep->rows.cnt);
}

static int put_head(const struct sweep *sweep, FILE *out)
{
	const struct snapshot *snap = sweep->snap;
	struct fields head;

	fields__new_document(&head, snap);
	add_known_text(&head, "event", sweep->is_event ? "oom" : NULL);
	add_host(&head, snap);
	add_notes(&head, snap);
	add_memory(&head, sweep);
	add_states(&head, sweep);
	return put_fields(&head, false, out);
}

static void add_growth(struct fields *row, const struct growth_verdict *growth)
{
	struct fields fields;

	fields__new(&fields);
	add_float(&fields, "bytes_per_hour", growth->bytes_per_hour);
	add_float(&fields, "lower", growth->lower);
	add_float(&fields, "upper", growth->upper);
	add_uint(&fields, "seen_ns", growth->seen_ns);
	add_fields(row, "growth", &fields);
}

static void add_shmem(struct fields *row, const struct sweep_row *item)
{
	struct fields fields;

	if (item->pid) {
		add_null(row, "shmem");
		return;
	}
	fields__new(&fields);
	add_uint(&fields, "bytes", item->shmem_bytes);
	add_float(&fields, "bytes_per_hour", item->shmem_per_hour);
	add_fields(row, "shmem", &fields);
}

static void add_limit(struct fields *row, const struct sweep_row *item)
{
	struct fields fields;

	fields__new(&fields);
	add_known_text(&fields, "cgroup", *item->limit_cgroup ? item->limit_cgroup : NULL);
	add_uint(&fields, "bytes", item->limit_bytes);
	add_uint(&fields, "room_bytes", item->room_bytes);
	add_float(&fields, "bytes_per_hour", item->limit_per_hour);
	if (item->seconds_to_limit != UINT64_MAX)
		add_uint(&fields, "seconds", item->seconds_to_limit);
	else
		add_null(&fields, "seconds");
	add_fields(row, "limit", &fields);
}

/* ---- code ---- */

static void add_contents(struct fields *evidence, const struct imprint_sums *contents)
{
	struct fields fields;

	fields__new(&fields);
	add_uint(&fields, "read", contents->read);
	add_uint(&fields, "kept", contents->kept);
	add_uint(&fields, "elders", contents->elders);
	add_uint(&fields, "late", contents->late);
	add_bool(&fields, "oldest_ended", contents->has_oldest_ended);
	add_uint(&fields, "life_ns", contents->life_ns);
	add_bool(&fields, "alike", contents->is_alike);
	add_fields(evidence, "contents", &fields);
}

static void add_evidence(struct fields *site, const struct cohort_verdict *verdict)
{
	struct fields fields;

	fields__new(&fields);
	add_uint(&fields, "watched_ns", verdict->watched_ns);
	add_float(&fields, "born", verdict->born);
	add_float(&fields, "bytes", verdict->bytes);
	add_float(&fields, "outlived", verdict->outlived);
	add_uint(&fields, "life_ns", verdict->life_ns);
	add_float(&fields, "followed", verdict->followed);
	add_float(&fields, "again", verdict->again);
	add_float(&fields, "expected", verdict->expected);
	if (verdict->others_again >= 0)
		add_float(&fields, "others_again", verdict->others_again);
	else
		add_null(&fields, "others_again");
	add_contents(&fields, &verdict->contents);
	add_fields(site, "evidence", &fields);
}

static void add_rate(struct fields *site, const struct cohort_verdict *verdict)
{
	struct fields fields;

	if (verdict->state != COHORT_GROWING) {
		add_null(site, "rate");
		return;
	}
	fields__new(&fields);
	add_float(&fields, "bytes_per_hour", verdict->rate);
	add_float(&fields, "lower", verdict->rate_low);
	add_float(&fields, "upper", verdict->rate_high);
	add_fields(site, "rate", &fields);
}

static int put_site(const struct profile *profile, const struct sweep_site *item,
		    struct call_texts *texts, FILE *out)
{
	const struct cohort_verdict *verdict = &item->verdict;
	bool is_known = verdict->state != COHORT_UNKNOWN;
	struct fields site;
	int err;

	fields__new(&site);
	add_text(&site, "verdict", cohort_state__name(verdict->state));
	add_known_text(&site, "doubt", is_known ? NULL : cohort_doubt__name(verdict->doubt));
	add_text(&site, "layer", layer_name(verdict->layer));
	add_rate(&site, verdict);
	add_float(&site, "confidence", sweep_confidence(verdict));
	add_evidence(&site, verdict);
	err = put_fields(&site, false, out);
	return err ? err : json_put_calls(profile, item->stack, texts, out);
}

static void add_ledger(struct fields *code, const struct ledger *ledger, uint64_t ago_ns)
{
	struct fields fields, parts;

	if (!ledger->is_known) {
		add_null(code, "ledger");
		return;
	}
	fields__new(&fields);
	add_uint(&fields, "ago_ns", ago_ns);
	add_uint(&fields, "anon_bytes", ledger->anon_bytes);
	fields__new(&parts);
	for (enum ledger_part part = 1; part < LEDGER_PART_CNT; part++)
		add_uint(&parts, ledger_part__field(part), ledger->part_bytes[part]);
	add_fields(&fields, "parts", &parts);
	add_uint(&fields, "largest_free_bytes", ledger->largest_free_bytes);
	add_uint(&fields, "free_count", ledger->free_cnt);
	add_uint(&fields, "huge_bytes", ledger->huge_bytes);
	add_uint(&fields, "file_bytes", ledger->file_bytes);
	add_uint(&fields, "shared_bytes", ledger->shared_bytes);
	add_uint(&fields, "swapped_bytes", ledger->swapped_bytes);
	add_known_text(&fields, "allocator", ledger->allocator);
	add_bool(&fields, "unread_pools", ledger->has_unread_pools);
	add_fields(code, "ledger", &fields);
}

static void add_cause(struct fields *code, const struct ledger_verdict *cause, uint64_t seen_ns)
{
	struct fields fields;

	if (cause->cause == LEDGER_CAUSE_NONE) {
		add_null(code, "cause");
		return;
	}
	fields__new(&fields);
	add_text(&fields, "name", ledger_cause__name(cause->cause));
	add_uint(&fields, "bytes", cause->bytes);
	add_uint(&fields, "seen_ns", seen_ns);
	add_fields(code, "cause", &fields);
}

static int put_touch(const struct profile *profile, const struct sweep_touch *item,
		     struct call_texts *texts, FILE *out)
{
	static const char *const kinds[TOUCH_KINDS] = {
		[TOUCH_USER] = "user", [TOUCH_KERNEL] = "kernel", [TOUCH_POPULATE] = "populate"};
	struct fields touch;
	int err;

	fields__new(&touch);
	add_text(&touch, "kind", kinds[item->kind]);
	add_uint(&touch, "bytes", item->bytes);
	add_uint(&touch, "error_bytes", item->error_bytes);
	add_uint(&touch, "samples", item->samples);
	err = put_fields(&touch, false, out);
	return err ? err : json_put_calls(profile, item->stack, texts, out);
}

static void add_suppressed(struct fields *code, const struct sweep_code *item)
{
	struct fields fields;

	fields__new(&fields);
	add_uint(&fields, "stacks", item->suppressed_cnt);
	add_float(&fields, "bytes_per_hour", item->suppressed_rate);
	add_float(&fields, "upper", item->suppressed_high);
	add_fields(code, "suppressed", &fields);
}

static int put_code(const struct profile *profile, const struct sweep_code *code,
		    struct call_texts *texts, FILE *out)
{
	struct fields fields;
	int err;

	fields__new(&fields);
	add_text(&fields, "look", sweep_look__name(code->look));
	add_text(&fields, "obstacle", code->obstacle);
	add_uint(&fields, "watched_ns", code->watched_ns);
	add_uint(&fields, "traced_ns", code->traced_ns);
	add_uint(&fields, "windows", code->window_cnt);
	add_float(&fields, "lost_percent", code->lost_percent);
	add_uint(&fields, "untold_bytes", code->untold_bytes);
	add_uint(&fields, "grown_bytes", code->grown_bytes);
	add_suppressed(&fields, code);
	add_ledger(&fields, &code->ledger, code->ledger_ago_ns);
	add_cause(&fields, &code->cause, code->cause_ns);
	err = put_fields(&fields, false, out);
	fputs(",\"sites\":[", out);
	for (size_t i = 0; i < code->sites.cnt && !err; i++) {
		fputs(i ? ",\n" : "\n", out);
		err = put_site(profile, &code->sites.items[i], texts, out);
	}
	fputs("],\"touches\":[", out);
	for (size_t i = 0; i < code->touches.cnt && !err; i++) {
		fputs(i ? ",\n" : "\n", out);
		err = put_touch(profile, &code->touches.items[i], texts, out);
	}
	fputs("]}", out);
	return err;
}

/* Writes as "known" what was kept of a row's code, behind other members. */
static int put_known(const struct sweep_row *row, FILE *out)
{
	const struct profile_opts opts = {.group = GROUP_STACK};
	const struct kept_code *kept = row->kept;
	struct profile *profile;
	struct call_texts texts;
	struct fields fields;
	int err;

	fputs(",\"known\":", out);
	if (!kept) {
		fputs("null", out);
		return 0;
	}
	profile = profile__new(kept->snap, kept->symbols, &opts, NULL);
	if (!profile)
		return -ENOMEM;
	err = call_texts__init(&texts, profile);
	fields__new(&fields);
	add_int(&fields, "pid", kept->pid);
	add_uint(&fields, "start_ns", kept->start_ns);
	add_uint(&fields, "ago_ns", row->kept_ns);
	err = put_fields(&fields, false, out) ? -ENOMEM : err;
	fputs(",\"code\":", out);
	if (!err)
		err = put_code(profile, kept->code, &texts, out);
	fputc('}', out);
	call_texts__free(&texts);
	profile__free(profile);
	return err;
}

/* ---- rows ---- */

static int put_row(const struct profile *profile, const struct sweep_row *item,
		   struct call_texts *texts, FILE *out)
{
	struct fields row;
	int err;

	fields__new(&row);
	if (item->pid)
		add_int(&row, "pid", item->pid);
	else
		add_null(&row, "pid");
	add_uint(&row, "start_ns", item->start_ns);
	add_text(&row, "comm", item->comm);
	add_text(&row, "cgroup", item->cgroup);
	add_text(&row, "title", item->title);
	add_text(&row, "runtime", item->runtime);
	add_bool(&row, "service", item->is_service);
	add_uint(&row, "restarts", item->restarts);
	add_uint(&row, "anon_bytes", item->anon_bytes);
	add_shmem(&row, item);
	add_growth(&row, &item->growth);
	add_limit(&row, item);
	add_ledger(&row, &item->ledger, 0);
	err = put_fields(&row, false, out);
	if (!err)
		err = put_known(item, out);
	fputs(item->code ? ",\"code\":" : ",\"code\":null", out);
	if (!err && item->code)
		err = put_code(profile, item->code, texts, out);
	fputc('}', out);
	return err;
}

static int put_rows(const struct sweep *sweep, size_t top, FILE *out)
{
	const struct profile_opts opts = {.group = GROUP_STACK};
	struct profile *profile = profile__new(sweep->snap, sweep->symbols, &opts, NULL);
	struct call_texts texts;
	int err;

	if (!profile)
		return -ENOMEM;
	err = call_texts__init(&texts, profile);
	fputs(",\n\"growing\":[", out);
	for (size_t i = 0; i < sweep->rows.cnt && (!top || i < top) && !err; i++) {
		fputs(i ? ",\n" : "\n", out);
		err = put_row(profile, &sweep->rows.items[i], &texts, out);
	}
	call_texts__free(&texts);
	profile__free(profile);
	return err;
}

/* ---- kills ---- */

static int put_process(const struct oom_process *process, FILE *out)
{
	const struct sweep_row *item = &process->row;
	struct fields row;
	int err;

	fields__new(&row);
	add_int(&row, "pid", item->pid);
	add_uint(&row, "start_ns", item->start_ns);
	add_text(&row, "comm", item->comm);
	add_text(&row, "cgroup", item->cgroup);
	add_text(&row, "title", item->title);
	add_uint(&row, "restarts", item->restarts);
	add_text(&row, "fate", oom_fate__name(process->fate));
	add_uint(&row, "anon_bytes", item->anon_bytes);
	add_text(&row, "state", growth_state__name(item->growth.state));
	if (item->growth.state == GROWTH_GROWING)
		add_growth(&row, &item->growth);
	else
		add_null(&row, "growth");
	err = put_fields(&row, false, out);
	if (!err)
		err = put_known(item, out);
	fputc('}', out);
	return err;
}

static int put_oom(const struct sweep_oom *oom, FILE *out)
{
	char at[RFC3339_MAX];
	struct fields fields, limit;
	int err;

	fields__new(&fields);
	add_text(&fields, "at", format_rfc3339(oom->time_ns, true, at));
	add_uint(&fields, "kills", oom->kills);
	add_known_text(&fields, "cgroup", *oom->cgroup ? oom->cgroup : NULL);
	add_text(&fields, "title", oom->title);
	fields__new(&limit);
	add_known_text(&limit, "cgroup", *oom->limit_cgroup ? oom->limit_cgroup : NULL);
	add_uint(&limit, "bytes", oom->limit_bytes);
	add_bool(&limit, "certain", !oom->is_limit_doubtful);
	add_fields(&fields, "limit", &limit);
	add_uint(&fields, "processes", oom->process_cnt);
	add_uint(&fields, "anon_bytes", oom->anon_bytes);
	add_uint(&fields, "shmem_bytes", oom->shmem_bytes);
	err = put_fields(&fields, false, out);
	fputs(",\"list\":[", out);
	for (size_t i = 0; i < oom->list.cnt && !err; i++) {
		fputs(i ? ",\n" : "\n", out);
		err = put_process(&oom->list.items[i], out);
	}
	fputs("]}", out);
	return err;
}

static int put_ooms(const struct sweep *sweep, FILE *out)
{
	int err = 0;

	fputs("],\n\"oom\":[", out);
	for (size_t i = 0; i < sweep->ooms.cnt && !err; i++) {
		fputs(i ? ",\n" : "\n", out);
		err = put_oom(sweep->ooms.items[i], out);
	}
	return err;
}

int report_sweep_json(const struct sweep *sweep, const struct sweep_report_opts *opts, FILE *out)
{
	int err;

	err = put_head(sweep, out);
	if (!err)
		err = put_rows(sweep, opts->top, out);
	if (!err)
		err = put_ooms(sweep, out);
	fputs("]}\n", out);
	return err ? err : finish_output(out);
}
