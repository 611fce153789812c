//! Whole queries, from text to the drawn plan or the error.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use crate::catalog::{Catalog, EventTime, Relation, Stream, Table, View};
use crate::expr::Expr;
use crate::plan::{self, Bounded, Context, Parameters, Reads};
use crate::sql::{self, Body};

fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    plan::register_builtin_functions(&mut catalog);
    let columns = |names: &[(&str, DataType)]| {
        let fields = names.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    };
    let tags = DataType::new_list(DataType::Utf8, true);
    for (name, bounded) in
        [("a", Bounded::UntilClosed), ("b", Bounded::UntilClosed), ("c", Bounded::UntilClosed), ("f", Bounded::Yes)]
    {
        let schema =
            columns(&[("k", DataType::Int64), ("v", DataType::Int64), ("t", DataType::Utf8), ("tags", tags.clone())]);
        let stream = Stream { schema, options: vec![], bounded, state_ttl: None, event_time: None };
        catalog.relations.insert(name.to_string(), Relation::Stream(stream));
    }
    let at = DataType::Timestamp(TimeUnit::Microsecond, None);
    for (name, at) in [("bids", at), ("ticks", DataType::Int64)] {
        let schema = columns(&[("k", DataType::Int64), ("at", at.clone()), ("v", DataType::Int64), ("late", at)]);
        let watermark = Expr::column(&schema, 1);
        let event_time = Some(EventTime { column: 1, watermark, idle_after: None });
        let stream = Stream { schema, options: vec![], bounded: Bounded::UntilClosed, state_ttl: None, event_time };
        catalog.relations.insert(name.to_string(), Relation::Stream(stream));
    }
    for (name, text) in [
        (
            "counts",
            "SELECT k, count(*) FROM bids WHERE v > 1 GROUP BY k, TUMBLE(at, INTERVAL '10 seconds') ALLOW LATENESS INTERVAL '1 minute'",
        ),
        (
            "hops",
            "SELECT count(*) FROM HOP(bids, at, INTERVAL '2 seconds', INTERVAL '10 seconds') WHERE v > 1 GROUP BY window_start, window_end",
        ),
        ("groups", "SELECT k, count(*) FROM bids GROUP BY k"),
        ("ends", "SELECT count(*) FROM a GROUP BY TUMBLE(v, 10)"),
    ] {
        let Body::Query(query) = sql::parse(text, &sql::Limits::default()).unwrap().remove(0).body else {
            panic!("{text}")
        };
        let view = View { columns: vec![], query, schema: columns(&[]) };
        catalog.relations.insert(name.to_string(), Relation::View(view));
    }
    let schema = columns(&[("id", DataType::Int64), ("city", DataType::Utf8)]);
    catalog.relations.insert(
        "people".into(),
        Relation::Table(Table { schema, primary_key: vec![0], options: vec![], event_time: None }),
    );
    catalog
}

pub(super) fn planned(text: &str) -> String {
    let catalog = catalog();
    let files = HashMap::new();
    let parameters = Parameters::default();
    let closed = std::collections::BTreeSet::new();
    let context = Context {
        catalog: &catalog,
        files: &files,
        closed: &closed,
        parameters: &parameters,
        state_ttl: None,
        require_bounded_state: false,
        unordered: false,
        reads: Reads::Changes,
    };
    let statements = match sql::parse(text, &sql::Limits::default()) {
        Ok(statements) => statements,
        Err(error) => return format!("syntax: {error}"),
    };
    let Body::Query(query) = &statements[0].body else { panic!("not a query") };
    match plan::plan_query(query, &context) {
        Ok(plan) => plan::explain(&plan, None),
        Err(error) => {
            format!("{}: {error}{}", error.code(), error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default())
        }
    }
}

/// The plan or error of each text, as it should be.
pub(super) fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let lines: Vec<&str> =
            expected.trim().lines().map(|line| line.strip_prefix("        ").unwrap_or(line)).collect();
        assert_eq!(planned(text), lines.join("\n"), "of {text}");
    }
}

#[test]
fn an_aggregate_is_final_over_what_ends_and_changes_over_what_does_not() {
    check(&[
        (
            "SELECT k, count(*) FROM f GROUP BY k",
            "Aggregate: keys (f.k), aggregates (count(*)), EMIT FINAL  [append-only; state bounded by keys (f.k)]
        └─ Source: f (bounded)  [append-only]",
        ),
        (
            "SELECT k, sum(v) FROM a WHERE v > 3 GROUP BY k HAVING sum(v) > 2",
            "Filter: sum(a.v) > 2  [changelog; upsert key (k)]
        └─ Aggregate: keys (a.k), aggregates (sum(a.v)), EMIT CHANGES  [changelog; state bounded by keys (a.k)]
           └─ Filter: a.v > 3  [append-only]
              └─ Source: a (until closed)  [append-only]",
        ),
    ]);
}

#[test]
fn below_an_aggregate_that_is_final_an_aggregate_without_a_clause_is_final_too() {
    check(&[(
        "SELECT max(n) FROM (SELECT k, count(*) AS n FROM a GROUP BY k) EMIT FINAL",
        "Aggregate: keys (), aggregates (max(n)), EMIT FINAL  [append-only; state bounded by keys (one group)]
        └─ Project: count(*) AS n  [append-only]
           └─ Aggregate: keys (a.k), aggregates (count(*)), EMIT FINAL  [append-only; state bounded by keys (a.k)]
              └─ Source: a (until closed)  [append-only]",
    )]);
}

#[test]
fn distinct_rows_of_a_stream_only_appear() {
    check(&[(
        "SELECT DISTINCT k FROM a",
        "Aggregate: keys (k), aggregates (), EMIT CHANGES  [append-only; state bounded by keys (k)]
        └─ Source: a (until closed)  [append-only]",
    )]);
}

#[test]
fn a_condition_stays_above_a_keyed_join() {
    check(&[(
        "SELECT k, a.v AS av FROM a FULL JOIN b USING (k) FULL JOIN c USING (k) WHERE a.v > 3 KEEP FIRST EMIT FINAL",
        "Project: CASE WHEN a.k IS NOT NULL THEN a.k WHEN b.k IS NOT NULL THEN b.k ELSE c.k END AS k, a.v AS av  [append-only]
        └─ Filter: a.v > 3  [append-only]
           └─ KeyedJoin: FULL a on (a.k), b on (b.k), c on (c.k), KEEP FIRST, EMIT FINAL  [append-only; state bounded by keys (a.k)]
              ├─ Source: a (until closed)  [append-only]
              ├─ Source: b (until closed)  [append-only]
              └─ Source: c (until closed)  [append-only]",
    )]);
}

#[test]
fn a_join_clause_in_the_middle_leaves_the_end_to_the_aggregate() {
    let plan = planned(
        "SELECT a.k, count(*) FROM a JOIN b ON a.k = b.k KEEP LAST EMIT RUNNING WHERE b.v > 1 GROUP BY a.k EMIT FINAL",
    );
    assert!(plan.contains("count(*)), EMIT FINAL"), "{plan}");
    assert!(plan.contains("KEEP LAST, EMIT RUNNING"), "{plan}");
}

#[test]
fn joins_that_cannot_be_keyed_say_why() {
    check(&[
        (
            "SELECT a.k FROM a JOIN b ON a.k = b.k AND a.v > 3 KEEP LAST EMIT RUNNING",
            "join-shape: a keyed join takes equalities between its sides, not a.v > 3 at line 1, column 43 (Filter a side in a subquery before the join, or the result in a WHERE after it.)",
        ),
        (
            "SELECT a.k FROM a JOIN b ON a.k = b.k JOIN c ON b.v = c.v KEEP LAST EMIT RUNNING",
            "join-shape: every side of a keyed join is joined on the same key, and b.v is not part of it at line 1, column 49 (Join on another key in a subquery with its own KEEP and EMIT.)",
        ),
        (
            "SELECT a.k FROM a LEFT JOIN b ON a.k = b.k EMIT COMPLETE",
            "emit-mode: EMIT COMPLETE waits for every side, so an outer join makes no sense at line 1, column 44 (Write JOIN, or use EMIT RUNNING or EMIT FINAL.)",
        ),
    ]);
}

#[test]
fn collect_closes_by_its_bounds() {
    let plan = planned(
        "SELECT k, array_agg(v), close_reason() FROM a GROUP BY k, COLLECT(10, timeout => INTERVAL '5 seconds')",
    );
    assert!(
        plan.contains("Collect: keys (a.k), aggregates (array_agg(a.v)), max_rows 10, timeout 5 seconds"),
        "{plan}"
    );
    check(&[
        (
            "SELECT k, array_agg(v) FROM a GROUP BY k, COLLECT(0)",
            "invalid-argument: max_rows must be a whole number of at least 1 at line 1, column 43",
        ),
        (
            "SELECT close_reason() FROM a",
            "invalid-argument: close_reason() needs a COLLECT at line 1, column 8 (Add COLLECT(…) to the GROUP BY.)",
        ),
    ]);
}

#[test]
fn lists_are_unnested_in_every_place() {
    for text in [
        "SELECT k, u.tag FROM a, UNNEST(a.tags) AS u(tag)",
        "SELECT k, tag FROM a CROSS JOIN UNNEST(tags) AS u(tag)",
        "SELECT k, unnest(tags) FROM a",
    ] {
        let plan = planned(text);
        assert!(plan.contains("Unnest: "), "of {text}: {plan}");
    }
}

#[test]
fn what_cannot_be_found_is_named_with_its_place_and_the_nearest_name() {
    check(&[
        ("SELECT vv FROM a", "unknown-column: column \"vv\" not found at line 1, column 8 (Did you mean \"v\"?)"),
        ("SELECT * FROM aa", "unknown-relation: relation \"aa\" not found at line 1, column 15 (Did you mean \"a\"?)"),
        (
            "SELECT summ(v) FROM a",
            "unknown-function: function \"summ\" not found at line 1, column 8 (Did you mean \"sum\"?)",
        ),
    ]);
}

#[test]
fn types_that_do_not_go_together_are_refused_when_planned() {
    check(&[
        (
            "SELECT sum(t) FROM a",
            "type: sum(VARCHAR) does not take such arguments at line 1, column 8 (Cast the arguments to the types that the function takes.)",
        ),
        (
            "SELECT k + t FROM a",
            "type: expressions have incompatible types at line 1, column 8 (One side is BIGINT, the other VARCHAR: cast one of them.)",
        ),
        (
            "SELECT * FROM a WHERE v = t",
            "type: \"a.t\" is text and is used as BIGINT at line 1, column 27 (Write CAST(a.t AS BIGINT).)",
        ),
    ]);
}

#[test]
fn an_emit_that_cannot_be_honoured_is_refused() {
    check(&[
        (
            "SELECT k, v FROM a ORDER BY k",
            "emit-mode: ORDER BY needs a result that ends at line 1, column 20 (Add EMIT FINAL at the end of the query, or a LIMIT.)",
        ),
        (
            "SELECT * FROM a WHERE v > 3 EMIT RUNNING",
            "emit-mode: there is nothing here that this EMIT could govern at line 1, column 29 (EMIT belongs behind a GROUP BY, or behind the ON or USING of a join.)",
        ),
        (
            "SELECT city, count(*) FROM people GROUP BY city EMIT RUNNING",
            "emit-mode: EMIT RUNNING needs an append-only input at line 1, column 49 (Use EMIT CHANGES, or add EMIT FINAL to the inner query.)",
        ),
    ]);
}

#[test]
fn a_parameter_without_a_value_is_named() {
    check(&[(
        "SELECT $1 + k FROM a",
        "parameter: no value is given for $1 at line 1, column 8 (Pass it with query_with or execute_with.)",
    )]);
}

#[test]
fn a_short_text_cannot_make_a_plan_without_end() {
    let mut text = String::from("WITH c0 AS (SELECT k FROM a)");
    for nth in 1..40 {
        text += &format!(", c{nth} AS (SELECT * FROM c{0} UNION ALL SELECT * FROM c{0})", nth - 1);
    }
    let outcome = planned(&(text + " SELECT * FROM c39"));
    assert!(outcome.starts_with("limit: the query names more than 1000 relations"), "{outcome}");
}
