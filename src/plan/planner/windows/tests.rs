//! Windows from text to plan. `bids` has event time `at`, a timestamp, `ticks` has it as an integer, `a` has none.

use crate::plan::planner::tests::check;

#[test]
fn the_bounds_of_a_window_can_be_said_everywhere() {
    check(&[
        (
            "SELECT k, window_start, window_end, count(*) FROM bids GROUP BY k, TUMBLE(at, INTERVAL '10 seconds')",
            "Project: bids.k, window_start, window_end, count(*)  [append-only; event time window_end]
        └─ WindowAggregate: TUMBLE(bids.at, 10 seconds), closed by the watermark of bids, keys (bids.k), aggregates (count(*)), EMIT FINAL  [append-only; event time window_end, window_time; state bounded by open windows]
           └─ Source: bids (until closed), watermark at  [append-only; event time at]",
        ),
        (
            "SELECT window_end AS e, sum(v) AS s FROM bids GROUP BY HOP(at, slide => INTERVAL '2' SECOND, size => INTERVAL '10' SECOND) ALLOW LATENESS INTERVAL '1 minute' HAVING window_start > TIMESTAMP '2020-01-01 00:00:00' EMIT EVERY INTERVAL '1 second' AND FINAL",
            "Project: window_end AS e, sum(bids.v) AS s  [changelog; event time e]
        └─ Filter: window_start > TIMESTAMP '2020-01-01T00:00:00'  [changelog; event time window_end]
           └─ Project: window_end, sum(bids.v), window_start  [changelog; event time window_end]
              └─ WindowAggregate: HOP(bids.at, 2 seconds, 10 seconds), closed by the watermark of bids, kept 1 minute longer, keys (), aggregates (sum(bids.v)), EMIT EVERY 1 second AND FINAL  [changelog; event time window_end, window_time; state bounded by open windows]
                 └─ Source: bids (until closed), watermark at  [append-only; event time at]",
        ),
        (
            "SELECT TUMBLE_START(at, INTERVAL '10' SECOND), k FROM bids GROUP BY k, TUMBLE(at, INTERVAL '10 seconds') EMIT CHANGES",
            "Project: window_start AS TUMBLE_START(at, INTERVAL '10' SECOND), bids.k  [changelog]
        └─ WindowAggregate: TUMBLE(bids.at, 10 seconds), closed by the watermark of bids, keys (bids.k), aggregates (), EMIT CHANGES  [changelog; event time window_end, window_time; state bounded by open windows]
           └─ Source: bids (until closed), watermark at  [append-only; event time at]",
        ),
        (
            "SELECT window_start, rank() OVER (PARTITION BY window_start ORDER BY count(*)) FROM bids GROUP BY k, TUMBLE(at, INTERVAL '10 seconds')",
            "Project: window_start, rank() OVER (PARTITION BY window_start ORDER BY count(*))  [changelog]
        └─ Over: rank() OVER (PARTITION BY window_start ORDER BY count(*)), EMIT CHANGES  [changelog; state not bounded: OVER keeps every row; without ORDER BY and with ROWS BETWEEN n PRECEDING AND CURRENT ROW it keeps n for each key]
           └─ Project: window_start, count(*)  [append-only]
              └─ WindowAggregate: TUMBLE(bids.at, 10 seconds), closed by the watermark of bids, keys (bids.k), aggregates (count(*)), EMIT FINAL  [append-only; event time window_end, window_time; state bounded by open windows]
                 └─ Source: bids (until closed), watermark at  [append-only; event time at]",
        ),
    ]);
}

#[test]
fn windows_over_windows_go_on_in_event_time() {
    check(&[
        (
            "SELECT k, max(window_start) FROM (SELECT k, count(*) AS v, window_start, window_time FROM bids GROUP BY k, TUMBLE(at, INTERVAL '10 seconds')) GROUP BY k, TUMBLE(window_time, INTERVAL '1 minute')",
            "Project: bids.k, max(window_start)  [append-only]
        └─ WindowAggregate: TUMBLE(window_time, 1 minute), closed by the watermark of bids, keys (bids.k), aggregates (max(window_start)), EMIT FINAL  [append-only; event time window_end, window_time; state bounded by open windows]
           └─ Project: bids.k, window_start, window_time  [append-only; event time window_time]
              └─ WindowAggregate: TUMBLE(bids.at, 10 seconds), closed by the watermark of bids, keys (bids.k), aggregates (), EMIT FINAL  [append-only; event time window_end, window_time; state bounded by open windows]
                 └─ Source: bids (until closed), watermark at  [append-only; event time at]",
        ),
        (
            "SELECT window_start, window_end, max(n) FROM (SELECT k, window_start, window_end, count(*) AS n FROM TABLE(HOP(TABLE bids, DESCRIPTOR(at), INTERVAL '2' SECOND, INTERVAL '10' SECOND)) GROUP BY k, window_start, window_end) GROUP BY window_start, window_end",
            "Project: window_start, window_end, max(n)  [append-only; event time window_end]
        └─ WindowAggregate: window_start to window_end, closed by the watermark of bids, keys (), aggregates (max(n)), EMIT FINAL  [append-only; event time window_end, window_time; state bounded by open windows]
           └─ Project: window_start, window_end, count(*) AS n  [append-only; event time window_end]
              └─ Project: k, window_start, window_end, count(*)  [append-only; event time window_end]
                 └─ WindowAggregate: HOP(bids.at, 2 seconds, 10 seconds), closed by the watermark of bids, keys (bids.k), aggregates (count(*)), EMIT FINAL  [append-only; event time window_end, window_time; state bounded by open windows]
                    └─ Source: bids (until closed), watermark at  [append-only; event time at]",
        ),
        (
            "SELECT window_start, window_end, count(*) FROM TUMBLE((SELECT k, window_start, window_time FROM bids GROUP BY k, TUMBLE(at, INTERVAL '10 seconds')), window_time, INTERVAL '1 minute') GROUP BY window_start, window_end",
            "Project: window_start, window_end, count(*)  [append-only; event time window_end]
        └─ WindowAggregate: TUMBLE(window_time, 1 minute), closed by the watermark of bids, keys (), aggregates (count(*)), EMIT FINAL  [append-only; event time window_end, window_time; state bounded by open windows]
           └─ Project: window_time  [append-only; event time window_time]
              └─ WindowAggregate: TUMBLE(bids.at, 10 seconds), closed by the watermark of bids, keys (bids.k), aggregates (), EMIT FINAL  [append-only; event time window_end, window_time; state bounded by open windows]
                 └─ Source: bids (until closed), watermark at  [append-only; event time at]",
        ),
    ]);
}

#[test]
fn an_aggregate_over_rows_in_windows_makes_the_windows_itself() {
    check(&[
        (
            "SELECT k, window_start, window_end, count(*) FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(at), INTERVAL '10' SECOND)) WHERE v > 3 GROUP BY k, window_start, window_end",
            "Project: k, window_start, window_end, count(*)  [append-only; event time window_end]
        └─ WindowAggregate: TUMBLE(bids.at, 10 seconds), closed by the watermark of bids, keys (bids.k), aggregates (count(*)), EMIT FINAL  [append-only; event time window_end, window_time; state bounded by open windows]
           └─ Filter: bids.v > 3  [append-only; event time at]
              └─ Source: bids (until closed), watermark at  [append-only; event time at]",
        ),
        (
            "SELECT window_start, count(*), k, window_end FROM TUMBLE(bids, at, INTERVAL '10' SECOND) GROUP BY window_start, k, window_end, window_time EMIT ON WINDOW CLOSE",
            "Project: window_start, count(*), bids.k, window_end  [append-only; event time window_end]
        └─ Project: window_start, k, window_end, window_time, count(*)  [append-only; event time window_end, window_time]
           └─ WindowAggregate: TUMBLE(bids.at, 10 seconds), closed by the watermark of bids, keys (bids.k), aggregates (count(*)), EMIT FINAL  [append-only; event time window_end, window_time; state bounded by open windows]
              └─ Source: bids (until closed), watermark at  [append-only; event time at]",
        ),
        (
            "SELECT window_start, window_end, sum(p) FROM (SELECT v * 2 AS p, window_start, window_end FROM TUMBLE(bids, at, INTERVAL '10' SECOND)) GROUP BY window_start, window_end ALLOW LATENESS INTERVAL '1 second'",
            "Project: window_start, window_end, sum(p)  [changelog; upsert key (window_start, window_end); event time window_end]
        └─ WindowAggregate: TUMBLE(bids.at, 10 seconds), closed by the watermark of bids, kept 1 second longer, keys (), aggregates (sum(p)), EMIT FINAL  [changelog; event time window_end, window_time; state bounded by open windows]
           └─ Project: bids.v * 2 AS p, bids.at  [append-only; event time bids.at]
              └─ Source: bids (until closed), watermark at  [append-only; event time at]",
        ),
        (
            "SELECT k, window_start, window_end, count(*) FROM SESSION(TABLE bids PARTITION BY k, DESCRIPTOR(at), INTERVAL '10 seconds') GROUP BY k, window_start, window_end",
            "Project: k, window_start, window_end, count(*)  [append-only; event time window_end]
        └─ WindowAggregate: SESSION(bids.at, 10 seconds), closed by the watermark of bids, keys (bids.k), aggregates (count(*)), EMIT FINAL  [append-only; event time window_end, window_time; state bounded by open windows]
           └─ Source: bids (until closed), watermark at  [append-only; event time at]",
        ),
    ]);
}

#[test]
fn rows_are_put_into_windows() {
    check(&[
        (
            "SELECT * FROM TUMBLE(bids, at, INTERVAL '10' SECOND)",
            "Windows: TUMBLE(bids.at, 10 seconds), closed by the watermark of bids  [append-only; event time at, window_end, window_time]
        └─ Source: bids (until closed), watermark at  [append-only; event time at]",
        ),
    ]);
}

#[test]
fn windows_are_closed_by_what_their_time_is() {
    check(&[
        (
            "SELECT count(*) FROM ticks GROUP BY TUMBLE(at, 10, offset => 3)",
            "Project: count(*)  [append-only]
        └─ WindowAggregate: TUMBLE(ticks.at, 10, offset 3), closed by the watermark of ticks, keys (), aggregates (count(*)), EMIT FINAL  [append-only; event time window_end, window_time; state bounded by open windows]
           └─ Source: ticks (until closed), watermark at  [append-only; event time at]",
        ),
        (
            "SELECT count(*) FROM a GROUP BY TUMBLE(v, 10)",
            "Project: count(*)  [append-only]
        └─ WindowAggregate: TUMBLE(a.v, 10), closed by the end of the input, keys (), aggregates (count(*)), EMIT FINAL  [append-only; state not bounded: nothing closes these windows before the end: their time is not the event time of the input; WATERMARK FOR … AS … declares it]
           └─ Source: a (until closed)  [append-only]",
        ),
        (
            "SELECT count(*), window_start FROM a GROUP BY TUMBLE(proctime(), INTERVAL '10 seconds')",
            "Project: count(*), window_start  [append-only]
        └─ WindowAggregate: TUMBLE(proctime(), 10 seconds), closed by the clock, keys (), aggregates (count(*)), EMIT FINAL  [append-only; state bounded by open windows]
           └─ Source: a (until closed)  [append-only]",
        ),
    ]);
}

#[test]
fn the_order_of_windows_waits_for_the_end() {
    check(&[
        (
            "SELECT k, count(*) FROM bids GROUP BY k, SESSION(at, INTERVAL '10 seconds') ORDER BY window_end EMIT FINAL",
            "Project: bids.k, count(*)  [append-only]
        └─ Sort: window_end ASC, EMIT FINAL  [append-only; state not bounded: ORDER BY keeps every row; a LIMIT over rows that are only added bounds it]
           └─ Project: bids.k, count(*), window_end  [append-only; event time window_end]
              └─ WindowAggregate: SESSION(bids.at, 10 seconds), closed by the watermark of bids, keys (bids.k), aggregates (count(*)), EMIT FINAL  [append-only; event time window_end, window_time; state bounded by open windows]
                 └─ Source: bids (until closed), watermark at  [append-only; event time at]",
        ),
    ]);
}

#[test]
fn lengths_that_are_none_are_refused() {
    check(&[
        (
            "SELECT count(*) FROM bids GROUP BY TUMBLE(at, INTERVAL '0 seconds')",
            "invalid-argument: the size of a window must be longer than nothing at line 1, column 56",
        ),
        (
            "SELECT count(*) FROM bids GROUP BY TUMBLE(at, INTERVAL '-1 seconds')",
            "invalid-argument: the size of a window must be longer than nothing at line 1, column 56",
        ),
        (
            "SELECT count(*) FROM bids GROUP BY TUMBLE(at, INTERVAL '1 month')",
            "invalid-argument: months and years have no fixed length at line 1, column 56 (Write an interval of fixed length, such as INTERVAL '5 seconds'.)",
        ),
        (
            "SELECT count(*) FROM bids GROUP BY TUMBLE(at, INTERVAL '1 nanosecond')",
            "invalid-argument: 1 nanosecond is no multiple of 1 microsecond, in which TIMESTAMP(6) counts at line 1, column 56 (Choose such a multiple, or cast the time to a finer type.)",
        ),
        (
            "SELECT count(*) FROM bids GROUP BY TUMBLE(at, 10)",
            "invalid-argument: the windows of TIMESTAMP(6) are as long as an interval says at line 1, column 47 (Write an interval such as INTERVAL '10 seconds'.)",
        ),
        (
            "SELECT count(*) FROM ticks GROUP BY TUMBLE(at, INTERVAL '1 second')",
            "invalid-argument: the windows of BIGINT are as long as a number says at line 1, column 57 (Write a whole number instead of an interval.)",
        ),
        (
            "SELECT count(*) FROM a GROUP BY TUMBLE(t, INTERVAL '1 second')",
            "type: TUMBLE needs a time, and this is VARCHAR at line 1, column 40 (A time is a timestamp, a date or an integer.)",
        ),
    ]);
}

#[test]
fn calls_are_refused_that_are_none() {
    check(&[
        (
            "SELECT count(*) FROM bids GROUP BY TUMBLE(at)",
            "invalid-argument: TUMBLE needs its \"size\" at line 1, column 36 (Write TUMBLE(at, INTERVAL '10 seconds' [, offset => INTERVAL '1 second']).)",
        ),
        (
            "SELECT count(*) FROM bids GROUP BY HOP(at, INTERVAL '1 second')",
            "invalid-argument: HOP needs its \"size\" at line 1, column 36 (Write HOP(at, slide => INTERVAL '2 seconds', size => INTERVAL '10 seconds' [, offset => INTERVAL '1 second']).)",
        ),
        (
            "SELECT count(*) FROM bids GROUP BY HOP(at, INTERVAL '1 second', INTERVAL '1 second', INTERVAL '1 second', INTERVAL '1 second')",
            "invalid-argument: HOP takes fewer arguments at line 1, column 36 (Write HOP(at, slide => INTERVAL '2 seconds', size => INTERVAL '10 seconds' [, offset => INTERVAL '1 second']).)",
        ),
        (
            "SELECT count(*) FROM bids GROUP BY HOP(at, sliide => INTERVAL '1 second')",
            "invalid-argument: HOP has no argument \"sliide\" at line 1, column 36 (Write HOP(at, slide => INTERVAL '2 seconds', size => INTERVAL '10 seconds' [, offset => INTERVAL '1 second']).)",
        ),
        (
            "SELECT * FROM TUMBLE(INTERVAL '1 second')",
            "invalid-argument: TUMBLE needs its \"time\" at line 1, column 15 (Write TUMBLE(TABLE t, at, INTERVAL '10 seconds' [, offset => INTERVAL '1 second']).)",
        ),
        (
            "SELECT * FROM TUMBLE(nothing, at, INTERVAL '1 second')",
            "unknown-relation: relation \"nothing\" not found at line 1, column 22 (SHOW ALL lists what there is; a file is named in quotes, as in FROM 'a.csv'.)",
        ),
        (
            "SELECT * FROM TUMBLE(bids, nothing, INTERVAL '1 second')",
            "unknown-column: column \"nothing\" not found at line 1, column 28 (The columns here are \"k\", \"at\", \"v\", \"late\".)",
        ),
        (
            "SELECT count(*) FROM bids GROUP BY CUMULATE(at, INTERVAL '2 second', INTERVAL '5 seconds')",
            "invalid-argument: max_size must be a multiple of step at line 1, column 36",
        ),
        (
            "SELECT count(*) FROM bids GROUP BY HOP(at, INTERVAL '1 ms', INTERVAL '5 days')",
            "invalid-argument: each row would be in 432000000 windows, and 100000 is the most at line 1, column 36",
        ),
    ]);
}

#[test]
fn a_window_stands_alone_among_the_keys() {
    check(&[
        (
            "SELECT count(*) FROM bids GROUP BY TUMBLE(at, INTERVAL '1 second'), TUMBLE(at, INTERVAL '1 second')",
            "invalid-argument: a GROUP BY takes one window at line 1, column 69",
        ),
        (
            "SELECT count(*) FROM bids GROUP BY ROLLUP (k, TUMBLE(at, INTERVAL '1 second'))",
            "unsupported: a window does not stand beside grouping sets at line 1, column 47 (Put the rows into windows in FROM, and window_start and window_end into each of the sets.)",
        ),
        (
            "SELECT TUMBLE(at, INTERVAL '1 second') FROM bids",
            "invalid-argument: TUMBLE belongs into a GROUP BY, or into FROM at line 1, column 8 (window_start, window_end and window_time say its bounds.)",
        ),
        (
            "SELECT TUMBLE_START(at, INTERVAL '1 second') FROM bids",
            "invalid-argument: TUMBLE_START needs a TUMBLE in the GROUP BY at line 1, column 8",
        ),
        (
            "SELECT HOP_START(at, INTERVAL '1 second') FROM bids GROUP BY TUMBLE(at, INTERVAL '1 second')",
            "invalid-argument: HOP_START is not of the window that is grouped by at line 1, column 8 (window_start, window_end and window_time say the bounds of any window.)",
        ),
        (
            "SELECT TUMBLE_START(at, INTERVAL '1 second') FROM bids GROUP BY TUMBLE(at, INTERVAL '2 second')",
            "invalid-argument: TUMBLE_START is not of the window that is grouped by at line 1, column 8 (window_start, window_end and window_time say the bounds of any window.)",
        ),
        (
            "SELECT at FROM bids GROUP BY TUMBLE(at, INTERVAL '2 second')",
            "invalid-argument: \"bids.at\" must appear in GROUP BY clause because it's not an aggregate expression at line 1, column 8 (Either add \"bids.at\" to GROUP BY clause, or use an aggregate function like ANY_VALUE(bids.at).)",
        ),
    ]);
}

#[test]
fn clauses_that_cannot_be_honoured_are_refused() {
    check(&[
        (
            "SELECT count(*) FROM bids GROUP BY k ALLOW LATENESS INTERVAL '2 second'",
            "invalid-argument: ALLOW LATENESS needs a window to group by at line 1, column 62 (Add TUMBLE(at, …) to the GROUP BY, or window_start and window_end.)",
        ),
        (
            "SELECT count(*) FROM a GROUP BY TUMBLE(v, 5) ALLOW LATENESS 2",
            "invalid-argument: ALLOW LATENESS needs windows that the watermark closes at line 1, column 61 (WATERMARK FOR at AS … declares the event time of a stream.)",
        ),
        (
            "SELECT count(*) FROM bids ALLOW LATENESS INTERVAL '2 second'",
            "syntax: ALLOW LATENESS belongs behind a GROUP BY with a window at line 1, column 27",
        ),
        (
            "SELECT count(*) FROM bids GROUP BY k EMIT ON WINDOW CLOSE",
            "emit-mode: there is no window here that could close at line 1, column 38 (Use EMIT FINAL.)",
        ),
        (
            "SELECT count(*) FROM bids GROUP BY HOP(at, INTERVAL '1 second', INTERVAL '2 seconds') EMIT RUNNING",
            "emit-mode: EMIT RUNNING gives one row for each row, and these windows overlap at line 1, column 87 (Use EMIT CHANGES, EMIT EVERY or EMIT FINAL.)",
        ),
    ]);
}

#[test]
fn rows_in_order_within_windows_are_final_when_those_close() {
    check(&[
        (
            "SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY window_start, window_end ORDER BY n DESC) AS place FROM (SELECT k, window_start, window_end, count(*) AS n FROM bids GROUP BY k, TUMBLE(at, INTERVAL '10 seconds'))) WHERE place <= 3",
            "Project: bids.k, window_start, window_end, n, row_number() OVER (PARTITION BY window_start, window_end ORDER BY n DESC) AS place  [append-only; event time window_end]
        └─ TopN: first 3 by row_number, keys (window_start, window_end), order (n DESC), EMIT FINAL  [append-only; event time window_end; state bounded by open windows]
           └─ Project: bids.k, window_start, window_end, count(*) AS n  [append-only; event time window_end]
              └─ WindowAggregate: TUMBLE(bids.at, 10 seconds), closed by the watermark of bids, keys (bids.k), aggregates (count(*)), EMIT FINAL  [append-only; event time window_end, window_time; state bounded by open windows]
                 └─ Source: bids (until closed), watermark at  [append-only; event time at]",
        ),
        (
            "SELECT *, rank() OVER (PARTITION BY window_start, window_end ORDER BY v DESC) AS place FROM TUMBLE(bids, at, INTERVAL '10 seconds') EMIT ON WINDOW CLOSE",
            "Project: bids.k, bids.at, bids.v, bids.late, window_start, window_end, window_time, rank() OVER (PARTITION BY window_start, window_end ORDER BY bids.v DESC) AS place  [append-only; event time window_end]
        └─ Over: rank() OVER (PARTITION BY window_start, window_end ORDER BY bids.v DESC), EMIT FINAL  [append-only; event time window_end; state bounded by open windows]
           └─ Windows: TUMBLE(bids.at, 10 seconds), closed by the watermark of bids  [append-only; event time at, window_end, window_time]
              └─ Source: bids (until closed), watermark at  [append-only; event time at]",
        ),
        (
            "SELECT *, rank() OVER (PARTITION BY window_start, window_end ORDER BY v DESC) AS place FROM TUMBLE(bids, at, INTERVAL '10 seconds') EMIT CHANGES",
            "Project: bids.k, bids.at, bids.v, bids.late, window_start, window_end, window_time, rank() OVER (PARTITION BY window_start, window_end ORDER BY bids.v DESC) AS place  [changelog; event time window_end]
        └─ Over: rank() OVER (PARTITION BY window_start, window_end ORDER BY bids.v DESC), EMIT CHANGES  [changelog; event time window_end; state bounded by open windows]
           └─ Windows: TUMBLE(bids.at, 10 seconds), closed by the watermark of bids  [append-only; event time at, window_end, window_time]
              └─ Source: bids (until closed), watermark at  [append-only; event time at]",
        ),
        (
            "SELECT *, rank() OVER (PARTITION BY k ORDER BY v DESC) AS place FROM bids EMIT ON WINDOW CLOSE",
            "emit-mode: there is no window here that could close at line 1, column 75 (Use EMIT FINAL.)",
        ),
    ]);
}

#[test]
fn late_rows_are_those_of_the_outermost_windows() {
    check(&[
        (
            "SELECT * FROM LATE(counts)",
            "LateRows: TUMBLE(bids.at, 10 seconds), closed by the watermark of bids, kept 1 minute longer, keys (bids.k)  [append-only; state bounded by open windows]
        └─ Filter: bids.v > 1  [append-only; event time at]
           └─ Source: bids (until closed), watermark at  [append-only; event time at]",
        ),
        (
            "SELECT k, lateness FROM LATE(hops) AS l WHERE l.v > 3",
            "Project: bids.k, lateness  [append-only]
        └─ Filter: bids.v > 3  [append-only]
           └─ Project: bids.k, bids.v, lateness  [append-only]
              └─ LateRows: window_start to window_end, closed by the watermark of bids, keys ()  [append-only; state bounded by open windows]
                 └─ Project: bids.k, bids.v, window_end, window_start  [append-only; event time window_end]
                    └─ Windows: HOP(bids.at, 2 seconds, 10 seconds), closed by the watermark of bids  [append-only; event time at, window_end, window_time]
                       └─ Filter: bids.v > 1  [append-only; event time at]
                          └─ Source: bids (until closed), watermark at  [append-only; event time at]",
        ),
        (
            "SELECT * FROM LATE(groups)",
            "invalid-argument: \"groups\" has no windows that a row could be late for at line 1, column 20 (LATE takes a view or stream that is defined by a query with GROUP BY … TUMBLE(…) or its kin.)",
        ),
        (
            "SELECT * FROM LATE(ends)",
            "invalid-argument: no row is ever late for these windows at line 1, column 1 (The watermark of a stream closes windows over its WATERMARK FOR column.)",
        ),
        (
            "SELECT * FROM LATE(1)",
            "invalid-argument: LATE takes the name of a view or stream at line 1, column 15 (Write FROM LATE(v), where v is defined by a query with windows.)",
        ),
    ]);
}

#[test]
fn the_clock_closes_windows_over_windows_that_it_closes() {
    check(&[
        (
            "SELECT window_start, window_end, max(n) FROM (SELECT k, window_start, window_end, count(*) AS n FROM a GROUP BY k, TUMBLE(proctime(), INTERVAL '10 seconds')) GROUP BY window_start, window_end",
            "Project: window_start, window_end, max(n)  [append-only]
        └─ WindowAggregate: window_start to window_end, closed by the clock, keys (), aggregates (max(n)), EMIT FINAL  [append-only; state bounded by open windows]
           └─ Project: window_start, window_end, count(*) AS n  [append-only]
              └─ WindowAggregate: TUMBLE(proctime(), 10 seconds), closed by the clock, keys (a.k), aggregates (count(*)), EMIT FINAL  [append-only; state bounded by open windows]
                 └─ Source: a (until closed)  [append-only]",
        ),
        (
            "SELECT window_end, count(*) FROM TUMBLE(a, proctime(), INTERVAL '10 seconds') GROUP BY window_start, window_end",
            "Project: window_end, count(*)  [append-only]
        └─ Project: window_start, window_end, count(*)  [append-only]
           └─ WindowAggregate: TUMBLE(proctime(), 10 seconds), closed by the clock, keys (), aggregates (count(*)), EMIT FINAL  [append-only; state bounded by open windows]
              └─ Source: a (until closed)  [append-only]",
        ),
        (
            "SELECT count(*) FROM (SELECT *, proctime() AS now FROM a) GROUP BY TUMBLE(now, INTERVAL '10 seconds')",
            "Project: count(*)  [append-only]
        └─ WindowAggregate: TUMBLE(now, 10 seconds), closed by the clock, keys (), aggregates (count(*)), EMIT FINAL  [append-only; state bounded by open windows]
           └─ Project: proctime() AS now  [append-only]
              └─ Source: a (until closed)  [append-only]",
        ),
    ]);
}

#[test]
fn distinct_rows_in_windows_are_final_when_those_close() {
    check(&[
        (
            "SELECT DISTINCT k, window_start, window_end FROM TUMBLE(bids, at, INTERVAL '10 seconds')",
            "Project: k, window_start, window_end  [append-only; event time window_end]
        └─ WindowAggregate: TUMBLE(bids.at, 10 seconds), closed by the watermark of bids, keys (k), aggregates (), EMIT FINAL  [append-only; event time window_end, window_time; state bounded by open windows]
           └─ Source: bids (until closed), watermark at  [append-only; event time at]",
        ),
    ]);
}

#[test]
fn the_first_rows_by_event_time_are_settled_by_the_watermark() {
    check(&[
        (
            "SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY at) AS place FROM bids) WHERE place = 1 EMIT FINAL",
            "Project: bids.k, bids.at, bids.v, bids.late, row_number() OVER (PARTITION BY bids.k ORDER BY bids.at) AS place  [append-only; event time at]
        └─ TopN: first 1 by row_number, keys (bids.k), order (bids.at ASC), settled by the watermark, EMIT FINAL  [append-only; event time at; state bounded by keys (bids.k), 1 row each]
           └─ Source: bids (until closed), watermark at  [append-only; event time at]",
        ),
        (
            "SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY at) AS place FROM bids) WHERE place = 1",
            "Project: bids.k, bids.at, bids.v, bids.late, row_number() OVER (PARTITION BY bids.k ORDER BY bids.at) AS place  [changelog; upsert key (k)]
        └─ TopN: first 1 by row_number, keys (bids.k), order (bids.at ASC), EMIT CHANGES  [changelog; state bounded by keys (bids.k), 1 row each]
           └─ Source: bids (until closed), watermark at  [append-only; event time at]",
        ),
        (
            "SELECT DISTINCT ON (k) k, at, v FROM bids ORDER BY k, at EMIT FINAL",
            "Project: bids.k, bids.at, bids.v  [append-only; event time at]
        └─ TopN: first 1 by row_number, keys (bids.k), order (bids.at ASC), settled by the watermark, EMIT FINAL  [append-only; event time at; state bounded by keys (bids.k), 1 row each]
           └─ Source: bids (until closed), watermark at  [append-only; event time at]",
        ),
    ]);
}

#[test]
fn windows_go_through_joins_and_conditions() {
    check(&[
        (
            "SELECT l.k, l.n, r.n FROM (SELECT k, window_start, window_end, count(*) AS n FROM bids GROUP BY k, TUMBLE(at, INTERVAL '10 seconds')) l JOIN (SELECT k, window_start, window_end, count(*) AS n FROM bids GROUP BY k, TUMBLE(at, INTERVAL '10 seconds')) r ON l.k = r.k AND l.window_start = r.window_start AND l.window_end = r.window_end",
            "Project: l.k, l.n, r.n  [append-only]
        └─ Join: INNER l, r on l.k = r.k AND l.window_start = r.window_start AND l.window_end = r.window_end  [append-only; state bounded by the watermark (l.window_end = r.window_end)]
           ├─ Project: bids.k, window_start, window_end, count(*) AS n  [append-only; event time window_end; read 2 times]
           │  └─ WindowAggregate: TUMBLE(bids.at, 10 seconds), closed by the watermark of bids, keys (bids.k), aggregates (count(*)), EMIT FINAL  [append-only; event time window_end, window_time; state bounded by open windows]
           │     └─ Filter: bids.k IS NOT NULL  [append-only; event time at]
           │        └─ Source: bids (until closed), watermark at  [append-only; event time at]
           └─ Project: bids.k, window_start, window_end, count(*) AS n  [as above, computed once]",
        ),
        (
            "SELECT b.k + 1 AS kk, window_end - INTERVAL '1 second' AS e FROM bids b GROUP BY b.k + 1, TUMBLE(b.at, INTERVAL '10 seconds') HAVING count(*) > 1",
            "Project: b.k + 1 AS kk, window_end - INTERVAL '1 second' AS e  [append-only]
        └─ Filter: count(*) > 1  [append-only; event time window_end]
           └─ Project: b.k + 1, window_end, count(*)  [append-only; event time window_end]
              └─ WindowAggregate: TUMBLE(b.at, 10 seconds), closed by the watermark of bids, keys (b.k + 1), aggregates (count(*)), EMIT FINAL  [append-only; event time window_end, window_time; state bounded by open windows]
                 └─ Source: bids (until closed), watermark at  [append-only; event time at]",
        ),
        (
            "SELECT max(v) FILTER (WHERE at > window_start) FROM bids GROUP BY TUMBLE(at, INTERVAL '10 seconds')",
            "unknown-column: column \"window_start\" not found at line 1, column 34 (The columns here are \"k\", \"at\", \"v\", \"late\".)",
        ),
    ]);
}

#[test]
fn what_is_no_window_is_refused() {
    check(&[
        (
            "SELECT count(*) FROM bids GROUP BY TUMBLE(at, INTERVAL '10 seconds'), COLLECT(3)",
            "invalid-argument: a GROUP BY takes a window or a COLLECT, not both at line 1, column 36",
        ),
        (
            "SELECT count(*) FROM bids GROUP BY TUMBLE(at, INTERVAL '1 second') OVER ()",
            "invalid-argument: TUMBLE takes neither OVER nor FILTER at line 1, column 36",
        ),
        (
            "SELECT count(*) FROM bids GROUP BY TUMBLE(nothing, INTERVAL '10 seconds')",
            "unknown-column: column \"nothing\" not found at line 1, column 43 (The columns here are \"count(*)\", \"k\", \"at\", \"v\", \"late\".)",
        ),
        (
            "SELECT count(*) FROM bids GROUP BY TUMBLE(at, 'ten')",
            "invalid-argument: expected an interval at line 1, column 47 (Write an interval of fixed length, such as INTERVAL '5 seconds'.)",
        ),
        (
            "SELECT count(*) FROM bids GROUP BY TUMBLE(*)",
            "invalid-argument: TUMBLE needs its \"size\" at line 1, column 36 (Write TUMBLE(at, INTERVAL '10 seconds' [, offset => INTERVAL '1 second']).)",
        ),
        (
            "SELECT count(*) FROM bids GROUP BY TUMBLE()",
            "invalid-argument: TUMBLE needs its \"time\" at line 1, column 36 (Write TUMBLE(at, INTERVAL '10 seconds' [, offset => INTERVAL '1 second']).)",
        ),
        (
            "SELECT count(*), window_start FROM bids GROUP BY k",
            "unknown-column: column \"window_start\" not found at line 1, column 18 (The columns here are \"k\", \"at\", \"v\", \"late\".)",
        ),
        (
            "SELECT count(*) FROM bids WHERE window_start > at GROUP BY TUMBLE(at, INTERVAL '1 second')",
            "unknown-column: column \"window_start\" not found at line 1, column 33 (The columns here are \"k\", \"at\", \"v\", \"late\".)",
        ),
        (
            "SELECT sum(v) FROM ticks GROUP BY HOP(at, 9223372036854775807, 9223372036854775807)",
            "invalid-argument: the slide of a window is too long at line 1, column 43",
        ),
    ]);
}
