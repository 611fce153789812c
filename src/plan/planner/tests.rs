//! Whole queries, from text to the drawn plan or the error.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};

use crate::catalog::{Catalog, Relation, Stream, Table};
use crate::plan::{self, Bounded, Context, Parameters};
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
        let stream = Stream { schema, options: vec![], bounded };
        catalog.relations.insert(name.to_string(), Relation::Stream(stream));
    }
    let schema = columns(&[("id", DataType::Int64), ("city", DataType::Utf8)]);
    catalog.relations.insert("people".into(), Relation::Table(Table { schema, primary_key: vec![0] }));
    catalog
}

fn planned(text: &str) -> String {
    let catalog = catalog();
    let files = HashMap::new();
    let parameters = Parameters::default();
    let context = Context { catalog: &catalog, files: &files, parameters: &parameters, require_bounded_state: false };
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

#[test]
fn show() {
    for text in [
        "SELECT k, count(*) AS n, sum(v) FROM a GROUP BY k EMIT FINAL",
        "SELECT k, count(*) FROM a WHERE v > 3 GROUP BY k HAVING count(*) > 2",
        "SELECT k, avg(v) FROM f GROUP BY k ORDER BY k LIMIT 3",
        "SELECT k, count(*) FROM a GROUP BY k EMIT RUNNING",
        "SELECT k, count(*) FROM a GROUP BY k ORDER BY k",
        "SELECT k, a.v AS av, b.v AS bv FROM a FULL JOIN b USING (k) FULL JOIN c USING (k) WHERE a.v > 3 KEEP FIRST EMIT FINAL",
        "SELECT k, a.v, b.v FROM a JOIN b USING (k) KEEP LAST EMIT COMPLETE",
        "SELECT a.k, count(*) FROM a JOIN b ON a.k = b.k KEEP LAST EMIT RUNNING WHERE b.v > 1 GROUP BY a.k EMIT FINAL",
        "SELECT a.k FROM a JOIN b ON a.k = b.k AND a.v > 3 KEEP LAST EMIT RUNNING",
        "SELECT a.k FROM a JOIN b ON a.k = b.k JOIN c ON b.v = c.v KEEP LAST EMIT RUNNING",
        "SELECT a.k FROM a LEFT JOIN b ON a.k = b.k EMIT COMPLETE",
        "SELECT a.k FROM a LEFT JOIN b ON a.k = b.k",
        "SELECT k, array_agg(v) AS vs, count(*), close_reason() FROM a GROUP BY k, COLLECT(max_rows => 10, timeout => INTERVAL '5 seconds')",
        "SELECT k, array_agg(v) FROM a GROUP BY k, COLLECT(10, INTERVAL '5 seconds')",
        "SELECT k, array_agg(v) FROM a GROUP BY k, COLLECT(0)",
        "SELECT k, array_agg(v) FROM a GROUP BY k, COLLECT()",
        "SELECT close_reason() FROM a",
        "SELECT DISTINCT k FROM a",
        "SELECT k, t, count(*), grouping(k) FROM f GROUP BY ROLLUP (k, t)",
        "SELECT k, u.tag FROM a, UNNEST(a.tags) AS u(tag)",
        "SELECT k, tag FROM a CROSS JOIN UNNEST(tags) AS u(tag)",
        "SELECT k, unnest(tags) FROM a",
        "SELECT city, count(*) FROM people GROUP BY city",
        "SELECT city, max(id) FROM people GROUP BY city",
        "SELECT max(n) FROM (SELECT k, count(*) AS n FROM a GROUP BY k) EMIT FINAL",
        "SELECT max(n) FROM (SELECT k, count(*) AS n FROM a GROUP BY k EMIT FINAL)",
        "WITH q AS (SELECT k FROM a EMIT CHANGES) SELECT * FROM q UNION ALL SELECT v FROM b",
        "SELECT nope FROM a",
        "SELECT vv FROM a",
        "SELECT * FROM aa",
        "SELECT summ(v) FROM a",
        "SELECT sum(t) FROM a",
        "SELECT * FROM a WHERE v = t",
        "SELECT * FROM a WHERE v = '5'",
        "SELECT * FROM a WHERE t + 1 > 2",
        "SELECT k + t FROM a",
        "SELECT k, v FROM a GROUP BY k",
        "SELECT * FROM a WHERE v > 3 EMIT RUNNING",
        "SELECT * FROM a EMIT CHANGES",
        "SELECT now(), t -> 'x' ->> 'y', upper(t) FROM a",
        "SELECT row_number() OVER (PARTITION BY k) FROM a",
        "VALUES (1, 'a'), (2, NULL)",
        "SELECT 1 + 1, 'x' || 'y'",
        "SELECT count(*) FROM a JOIN b USING (k) KEEP PRODUCT EMIT RUNNING",
        "SELECT * FROM a FULL JOIN b USING (k) EMIT FINAL",
        "SELECT k, first_value(v ORDER BY t DESC) FILTER (WHERE v > 2), count(DISTINCT t) FROM a GROUP BY k EMIT EVERY INTERVAL '5 seconds'",
        "SELECT * FROM a WHERE k IN (SELECT k FROM b)",
        "SELECT $1 + k FROM a",
        "SELECT CAST(t AS BIGINT) FROM a",
        "SELECT abs(t) FROM a",
        "SELECT k FROM a WHERE count(*) > 1",
        "SELECT date_trunc('hour', k) FROM a",
        "SELECT to_timestamp(k) FROM a",
        "SELECT k FROM a LIMIT 5 OFFSET 2",
        "SELECT lower(k, v) FROM a",
    ] {
        println!("{text}\n{}\n", planned(text));
    }
}
