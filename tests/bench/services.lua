-- SPDX-License-Identifier: GPL-2.0-or-later
-- For wrk: gets a page, or posts the file that is named behind "--". Ends with requests, microseconds, p99, failures.

function init(args)
	wrk.headers["Accept-Encoding"] = "gzip"
	if args[1] then
		local file = assert(io.open(args[1]))
		wrk.method = "POST"
		wrk.headers["Content-Type"] = "application/json"
		wrk.body = file:read("*a")
		file:close()
	end
end

function done(summary, latency)
	local errors = summary.errors

	io.write(string.format("%d %d %d %d\n", summary.requests, summary.duration, latency:percentile(99),
		errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
