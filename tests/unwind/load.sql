-- SPDX-License-Identifier: GPL-2.0-or-later
-- Statements of pgbench that allocate: sorts, hashes, arrays, expressions, a function in PL/pgSQL.
\set aid random(1, 10000)
SELECT string_agg(filler || aid::text, ',' ORDER BY filler || aid) FROM pgbench_accounts WHERE aid BETWEEN :aid AND :aid + 300;
SELECT a.bid, count(*), array_agg(b.aid) FROM pgbench_accounts a JOIN pgbench_accounts b ON a.aid = b.aid + 1 WHERE a.aid < :aid % 2000 GROUP BY a.bid;
DO $$ BEGIN PERFORM regexp_replace(repeat('ab' || i, 300), 'a(b+)', '\1', 'g') FROM generate_series(1, 5) i; RAISE EXCEPTION 'out'; EXCEPTION WHEN OTHERS THEN NULL; END $$;
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid;
