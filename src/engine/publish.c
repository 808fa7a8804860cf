/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/publish.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/report_file.h"
#include "engine/source_text.h"
#include "symbolize/symbolizer.h"

struct publisher {
	const struct publish_opts *opts;
	struct symbolizer *symbolizer;
	/* of the last report, for the differences of the next */
	struct snapshot *snap;
	struct symbol *symbols;
	struct profile *profile;
};

struct publisher *publisher__new(const struct publish_opts *opts)
{
	struct publisher *publisher = calloc(1, sizeof(*publisher));

	if (!publisher)
		return NULL;
	publisher->opts = opts;
	publisher->symbolizer = symbolizer__new();
	if (!publisher->symbolizer) {
		free(publisher);
		return NULL;
	}
	return publisher;
}

static void forget_last(struct publisher *publisher)
{
	profile__free(publisher->profile);
	free(publisher->symbols);
	snapshot__free(publisher->snap);
	publisher->profile = NULL;
	publisher->symbols = NULL;
	publisher->snap = NULL;
}

void publisher__free(struct publisher *publisher)
{
	if (!publisher)
		return;
	forget_last(publisher);
	symbolizer__free(publisher->symbolizer);
	free(publisher);
}

int publisher__publish(struct publisher *publisher, struct snapshot *snap, int64_t *ret_live_bytes)
{
	struct symbol *symbols = NULL;
	struct profile *profile = NULL;
	struct report_file *file = NULL;
	int err;

	err = symbolizer__resolve(publisher->symbolizer, snap, &symbols);
	if (!err && publisher->opts->render.annotate)
		err = source_text__add(snap, symbols, publisher->opts->render.annotate,
				       publisher->snap);
	if (err)
		goto fail;
	profile = profile__new(snap, symbols, &publisher->opts->profile, publisher->profile);
	err = profile ? report_file__open(publisher->opts->path, publisher->opts->fd, &file)
		      : -ENOMEM;
	if (err)
		goto fail;
	err = publisher->opts->report(profile, &publisher->opts->render, report_file__stream(file));
	err = report_file__finish(file, err);
	if (err)
		goto fail;
	if (ret_live_bytes)
		*ret_live_bytes = profile->total.live_bytes;
	forget_last(publisher);
	publisher->snap = snap;
	publisher->symbols = symbols;
	publisher->profile = profile;
	return 0;
fail:
	profile__free(profile);
	free(symbols);
	snapshot__free(snap);
	return err;
}
