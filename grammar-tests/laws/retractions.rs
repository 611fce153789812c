//! Every aggregate over every type, over rows that are replaced and deleted: it is right, or refused when planned.

use riverrun::{Code, Engine};

use crate::answers::{self, Fold};

/// Types by how a value of them is computed from a whole number `n`.
const VALUES: [(&str, &str); 33] = [
    ("BOOLEAN", "n > 2"),
    ("TINYINT", "arrow_cast(n, 'Int8')"),
    ("SMALLINT", "arrow_cast(n, 'Int16')"),
    ("INT", "arrow_cast(n, 'Int32')"),
    ("BIGINT", "n"),
    ("TINYINT UNSIGNED", "arrow_cast(n, 'UInt8')"),
    ("SMALLINT UNSIGNED", "arrow_cast(n, 'UInt16')"),
    ("INT UNSIGNED", "arrow_cast(n, 'UInt32')"),
    ("BIGINT UNSIGNED", "arrow_cast(n, 'UInt64')"),
    ("FLOAT16", "arrow_cast(n, 'Float16')"),
    ("FLOAT", "arrow_cast(n, 'Float32')"),
    ("DOUBLE", "arrow_cast(n, 'Float64')"),
    ("DECIMAL32", "arrow_cast(n, 'Decimal32(5, 2)')"),
    ("DECIMAL64", "arrow_cast(n, 'Decimal64(12, 2)')"),
    ("DECIMAL128", "arrow_cast(n, 'Decimal128(12, 2)')"),
    ("DECIMAL256", "arrow_cast(n, 'Decimal256(50, 2)')"),
    ("VARCHAR", "CAST(n AS VARCHAR)"),
    ("LARGE VARCHAR", "arrow_cast(CAST(n AS VARCHAR), 'LargeUtf8')"),
    ("VARCHAR VIEW", "arrow_cast(CAST(n AS VARCHAR), 'Utf8View')"),
    ("BYTEA", "arrow_cast(CAST(n AS VARCHAR), 'Binary')"),
    ("DATE", "arrow_cast(arrow_cast(n, 'Int32'), 'Date32')"),
    ("DATE64", "arrow_cast(n * 86400000, 'Date64')"),
    ("TIME", "arrow_cast(n, 'Time64(Nanosecond)')"),
    ("TIME32", "arrow_cast(arrow_cast(n, 'Int32'), 'Time32(Second)')"),
    ("TIMESTAMP", "arrow_cast(n, 'Timestamp(Nanosecond, None)')"),
    ("TIMESTAMP(0)", "arrow_cast(n, 'Timestamp(Second, None)')"),
    ("TIMESTAMP WITH TIME ZONE", "arrow_cast(n, 'Timestamp(Nanosecond, Some(\"UTC\"))')"),
    ("DURATION(0)", "arrow_cast(n, 'Duration(Second)')"),
    ("DURATION(3)", "arrow_cast(n, 'Duration(Millisecond)')"),
    ("DURATION", "arrow_cast(n, 'Duration(Nanosecond)')"),
    ("INTERVAL", "INTERVAL '1 second' * n"),
    ("LIST", "make_array(n, n + 1)"),
    ("STRUCT", "named_struct('a', n)"),
];

/// Calls that are tried with each type in the place of `x`.
const CALLS: [&str; 30] = [
    "count(x)",
    "count(DISTINCT x)",
    "sum(x)",
    "sum(DISTINCT x)",
    "avg(x)",
    "avg(DISTINCT x)",
    "sum(x) FILTER (WHERE n > 1)",
    "sum(x ORDER BY n)",
    "min(x)",
    "max(x)",
    "median(x)",
    "first_value(x)",
    "last_value(x ORDER BY n)",
    "nth_value(x, 2)",
    "array_agg(x)",
    "array_agg(x ORDER BY n)",
    "string_agg(x, ',')",
    "bool_and(x)",
    "bool_or(x)",
    "bit_and(x)",
    "bit_xor(x)",
    "stddev(x)",
    "var_pop(x)",
    "covar_samp(x, n)",
    "corr(x, n)",
    "regr_slope(x, n)",
    "approx_distinct(x)",
    "approx_median(x)",
    "approx_percentile_cont(x, 0.5)",
    "count(x, n)",
];

#[test]
fn every_aggregate_over_every_type_takes_rows_back_or_is_refused_when_planned() {
    let mut answered = vec![];
    for (data_type, value) in VALUES {
        for call in CALLS {
            let text = format!("SELECT g, {call} AS a FROM (SELECT g, n, {value} AS x FROM t) AS q GROUP BY g");
            match outcome(&text) {
                Ok(()) => answered.push((data_type, call)),
                Err(error) => panic!("{data_type}: {text}\n{error}"),
            }
        }
    }
    let sums: Vec<&str> = answered.iter().filter(|(_, call)| *call == "sum(x)").map(|(name, _)| *name).collect();
    assert!(sums.contains(&"BIGINT"), "{sums:?}");
}

/// Whether the query is refused, or answers after changes what it answers over the rows that are left.
fn outcome(text: &str) -> Result<(), String> {
    let engine = Engine::new();
    engine.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, g BIGINT, n BIGINT)").map_err(|error| error.to_string())?;
    let mut query = match engine.query(&format!("{text} EMIT CHANGES")) {
        Ok(query) => query,
        Err(error) if [Code::Type, Code::Unsupported, Code::InvalidArgument].contains(&error.code()) => {
            return Ok(());
        }
        Err(error) => return Err(format!("{}: {error}", error.code())),
    };
    let mut run = || -> riverrun::Result<(Vec<_>, Vec<_>)> {
        engine.execute("INSERT INTO t VALUES (1, 1, 1), (2, 1, 2), (3, 1, 3), (4, 2, 4), (5, 2, NULL)")?;
        let mut changes = query.poll()?;
        engine.execute("INSERT INTO t VALUES (2, 1, 5), (4, 1, 1), (5, 2, 6)")?;
        changes.extend(query.poll()?);
        engine.execute("DELETE FROM t WHERE id = 1 OR id = 5")?;
        changes.extend(query.poll()?);
        engine.execute("CREATE STREAM left_over (id BIGINT, g BIGINT, n BIGINT)")?;
        let text = text.replace("FROM t)", "FROM left_over)");
        let mut left = engine.query(&format!("{text} EMIT FINAL"))?;
        engine.execute("INSERT INTO left_over VALUES (3, 1, 3), (2, 1, 5), (4, 1, 1); CLOSE STREAM left_over")?;
        Ok((changes, left.poll()?))
    };
    let (changes, left) = run().map_err(|error| format!("{}: {error}", error.code()))?;
    let mut fold = Fold::default();
    changes.iter().try_for_each(|batch| fold.apply(batch))?;
    let (expected, answered) = (answers::rows(&left), fold.answer());
    match answers::same_multiset(&expected, &answered) {
        true => Ok(()),
        false => Err(answers::Difference { expected: &expected, answered: &answered }.to_string()),
    }
}
