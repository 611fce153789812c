//! The room as a whole: what statements say, what is refused and where, and what no text may do.

use sqlparser::ast;

use super::*;
use crate::error::Code;
use crate::types::{Interval, Timestamp};

fn statements(text: &str) -> Result<Vec<Statement>> {
    parse(text, &Limits::default())
}

fn body(text: &str) -> Body {
    match statements(text) {
        Ok(mut statements) if statements.len() == 1 => statements.remove(0).body,
        other => panic!("{text}: {other:?}"),
    }
}

fn query(text: &str) -> Query {
    match body(text) {
        Body::Query(query) => query,
        other => panic!("{text}: {other:?}"),
    }
}

/// The tree of a query as text.
fn tree(text: &str) -> String {
    query(text).ast.to_string()
}

/// An error as `line:column "offending" message [hint]`.
fn error(text: &str) -> String {
    let error = match statements(text) {
        Ok(statements) => panic!("{text}: {statements:?}"),
        Err(error) => error,
    };
    assert_ne!(error.code(), Code::Internal, "{text}: {error}");
    let place = error
        .place()
        .map(|place| format!("{}:{} \"{}\" ", place.line(), place.column(), place.offending()))
        .unwrap_or_default();
    let hint = error.hint().map(|hint| format!(" [{hint}]")).unwrap_or_default();
    format!("{place}{}{hint}", error.message())
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let found = error(text);
    assert!(found.starts_with(expected), "{text}\n  found:    {found}\n  expected: {expected}");
}

mod queries {
    use super::*;

    #[test]
    fn expressions_parse_as_written() {
        for text in [
            "SELECT count(*) FILTER (WHERE x > 1), sum(DISTINCT y), array_agg(z ORDER BY z DESC) FROM t",
            "SELECT k, count(*) FROM t GROUP BY GROUPING SETS ((k), ())",
            "SELECT k, count(*) FROM t GROUP BY ROLLUP (k, l)",
            "SELECT k, count(*) FROM t GROUP BY CUBE (k)",
            "SELECT k FROM t GROUP BY k, COLLECT(max_rows => 10, timeout => INTERVAL '5 seconds')",
            "SELECT [1, 2][1], {'a': 1}['a'], MAP {'a': 1}",
            "SELECT a -> 'b', a ->> 'b', a ? 'b', x::INT, x ~ 'a', x !~* 'b'",
            "SELECT x LIKE 'a%', x NOT ILIKE 'b', x SIMILAR TO 'c'",
            "SELECT INTERVAL '5' SECOND, INTERVAL '1 month 2 days', INTERVAL '5 seconds'",
            "SELECT EXTRACT(YEAR FROM x), SUBSTRING(x FROM 1 FOR 2), POSITION('a' IN x), TRIM(BOTH 'x' FROM y)",
            "SELECT x FROM t QUALIFY row_number() OVER (PARTITION BY k ORDER BY x) = 1",
            "SELECT \"Order\" FROM \"T\" WHERE x = $1 AND y = $name",
            "SELECT * FROM t CROSS JOIN UNNEST(t.tags) AS u (tag)",
            "SELECT * FROM a ASOF JOIN b MATCH_CONDITION (a.at >= b.at) ON a.k = b.k",
            "SELECT CASE WHEN a THEN b ELSE c END, CAST(x AS BIGINT), TRY_CAST(y AS DOUBLE)",
            "SELECT keep, top, settings, start, format FROM t",
            "SELECT q.emit, a AS emit, \"emit\", b AS keep FROM q",
            "WITH x AS (SELECT 1) SELECT * FROM x UNION ALL VALUES (1), (2) ORDER BY 1 LIMIT 5 OFFSET 1",
            "SELECT sum(v) OVER (PARTITION BY k ORDER BY at ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t",
            "SELECT * EXCLUDE (a) FROM t",
            "SELECT a IS DISTINCT FROM 'b', left(a, 1), right(a, 1), DATE '2026-01-01', TIMESTAMP '2026-01-01 00:00:00'",
        ] {
            assert_eq!(tree(text), text);
        }
        assert_eq!(tree("SELECT `b` FROM `T`"), "SELECT \"b\" FROM \"T\"");
        assert_eq!(
            tree("SELECT 1 FROM 'a.csv' AS f JOIN 'b' ON x = y"),
            "SELECT 1 FROM `a.csv` AS f JOIN `b` ON x = y"
        );
    }

    #[test]
    fn a_table_is_an_argument() {
        assert_eq!(
            tree("SELECT * FROM m(TABLE e PARTITION BY u ORDER BY at, 60)"),
            "SELECT * FROM m(__table_arg(e) OVER (PARTITION BY u ORDER BY at), 60)"
        );
        assert_eq!(
            tree("SELECT * FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(at), INTERVAL '10' SECOND)) w"),
            "SELECT * FROM TABLE(TUMBLE(__table_arg(bids) OVER (), DESCRIPTOR(at), INTERVAL '10' SECOND)) w"
        );
        assert_eq!(
            tree("SELECT * FROM m(input => TABLE (SELECT 1) PARTITION BY (a, b))"),
            "SELECT * FROM m(input => __table_arg((SELECT 1)) OVER (PARTITION BY a, b))"
        );
    }

    #[test]
    fn a_left_asof_join_is_carried_by_a_flag() {
        let query = query("SELECT * FROM a LEFT ASOF JOIN b MATCH_CONDITION (a.at >= b.at) ON a.k = b.k");
        let ast::SetExpr::Select(select) = &*query.ast.body else { panic!() };
        assert!(select.from[0].joins[0].global);
    }

    #[test]
    fn a_file_keeps_its_place() {
        let query = query("SELECT *\nFROM 'a b.csv'");
        let ast::SetExpr::Select(select) = &*query.ast.body else { panic!() };
        let ast::TableFactor::Table { name, .. } = &select.from[0].relation else { panic!() };
        let name = name.0[0].as_ident().unwrap();
        assert_eq!((name.quote_style, name.value.as_str()), (Some('`'), "a b.csv"));
        assert_eq!(place_of(&query.text, name.span).offending(), "'a b.csv'");
    }
}

mod clauses {
    use super::*;

    /// The tree and the clauses of a query.
    type Cut = (Option<KeepMode>, Option<EmitMode>, String);

    fn cut(text: &str) -> (String, Vec<Cut>) {
        let query = query(text);
        let clauses = query.clauses.iter().map(|clause| (clause.keep, clause.emit, clause.place.offending().into()));
        (query.ast.to_string(), clauses.collect())
    }

    #[test]
    fn a_query_carries_its_clause() {
        let seconds = Interval::from_millis(5_000);
        for (written, keep, emit) in [
            ("EMIT FINAL", None, Some(EmitMode::Final)),
            ("EMIT running", None, Some(EmitMode::Running)),
            ("emit CHANGES", None, Some(EmitMode::Changes)),
            ("EMIT COMPLETE", None, Some(EmitMode::Complete)),
            ("EMIT ON WINDOW CLOSE", None, Some(EmitMode::OnWindowClose)),
            ("EMIT EVERY INTERVAL '5 seconds'", None, Some(EmitMode::Every(seconds))),
            ("EMIT EVERY INTERVAL '5' SECOND AND FINAL", None, Some(EmitMode::EveryAndFinal(seconds))),
            ("KEEP FIRST", Some(KeepMode::First), None),
            ("KEEP LAST EMIT FINAL", Some(KeepMode::Last), Some(EmitMode::Final)),
            ("EMIT RUNNING KEEP PRODUCT", Some(KeepMode::Product), Some(EmitMode::Running)),
        ] {
            let (tree, clauses) = cut(&format!("SELECT k, count(*) FROM t GROUP BY k {written}"));
            assert_eq!(tree, "SELECT k, count(*) FROM t GROUP BY k SETTINGS riverrun_clause = 0");
            assert_eq!(clauses, [(keep, emit, written.to_string())]);
        }
    }

    #[test]
    fn every_query_may_have_one() {
        for (text, expected) in [
            ("SELECT 1 EMIT FINAL", "SELECT 1 SETTINGS riverrun_clause = 0"),
            ("SELECT * FROM s EMIT CHANGES", "SELECT * FROM s SETTINGS riverrun_clause = 0"),
            (
                "(SELECT 1 EMIT FINAL) UNION ALL (SELECT 2 EMIT CHANGES) EMIT RUNNING",
                "(SELECT 1 SETTINGS riverrun_clause = 0) UNION ALL (SELECT 2 SETTINGS riverrun_clause = 1) \
                 SETTINGS riverrun_clause = 2",
            ),
            (
                "WITH x AS (SELECT 1 EMIT FINAL) SELECT * FROM (SELECT * FROM x EMIT FINAL) y WHERE a IN (SELECT 1 EMIT FINAL)",
                "WITH x AS (SELECT 1 SETTINGS riverrun_clause = 0) SELECT * FROM (SELECT * FROM x SETTINGS riverrun_clause = 1) y \
                 WHERE a IN (SELECT 1 SETTINGS riverrun_clause = 2)",
            ),
            (
                "SELECT a FROM t ORDER BY a LIMIT 3 EMIT FINAL",
                "SELECT a FROM t ORDER BY a LIMIT 3 SETTINGS riverrun_clause = 0",
            ),
        ] {
            assert_eq!(cut(text).0, expected);
        }
    }

    #[test]
    fn a_join_chain_may_have_its_own() {
        let (tree, clauses) =
            cut("SELECT k FROM a JOIN b USING (k) KEEP FIRST EMIT COMPLETE WHERE b.x > 1 GROUP BY k EMIT FINAL");
        assert_eq!(
            tree,
            "SELECT a.k FROM a JOIN b USING(k) PREWHERE 0 WHERE b.x > 1 GROUP BY a.k SETTINGS riverrun_clause = 1"
        );
        assert_eq!(clauses.len(), 2);
    }

    #[test]
    fn a_misplaced_clause_is_refused() {
        refused(
            "SELECT * FROM a JOIN b USING (k) EMIT COMPLETE JOIN c USING (k)",
            "1:34 \"EMIT COMPLETE\" EMIT must follow the last join of the chain, found \"JOIN\" behind it [Put the first join",
        );
        refused(
            "SELECT lower(k EMIT FINAL) FROM t",
            "1:16 \"EMIT FINAL\" EMIT stands at the end of a query or behind its joins",
        );
        refused(
            "SELECT a EMIT FINAL FROM t",
            "1:10 \"EMIT FINAL\" EMIT must be the last clause of a query or follow its joins, found \"FROM\"",
        );
        refused("SELECT a FROM t EMIT FINAL WHERE a > 1", "1:17 \"EMIT FINAL\" EMIT must be the last clause");
        refused(
            "DELETE FROM t EMIT FINAL",
            "1:15 \"EMIT FINAL\" expected the end of the statement, found \"EMIT FINAL\"",
        );
        refused("SELECT a FROM t EMIT FINAL EMIT FINAL", "1:17 \"EMIT FINAL\" EMIT must be the last clause");
    }

    #[test]
    fn a_wrong_mode_is_refused() {
        refused("SELECT 1\n  EMIT ON WINDOW", "2:17 \"\" expected WINDOW CLOSE after EMIT ON, found the end");
        refused(
            "SELECT 1 EMIT FINALE",
            "1:15 \"FINALE\" expected FINAL, RUNNING, CHANGES, COMPLETE, ON WINDOW CLOSE or EVERY after EMIT, found \"FINALE\" [Did you mean EMIT FINAL?]",
        );
        refused("SELECT emit FROM t", "1:13 \"FROM\" expected FINAL, RUNNING");
        refused(
            "SELECT 1 EMIT EVERY INTERVAL '1 month'",
            "1:21 \"INTERVAL '1 month'\" months and years have no fixed length",
        );
        refused(
            "SELECT 1 EMIT EVERY INTERVAL '0 seconds'",
            "1:21 \"INTERVAL '0 seconds'\" EMIT EVERY needs an interval longer than nothing",
        );
        refused("SELECT 1 EMIT EVERY 5", "1:21 \"5\" expected INTERVAL '…' after EMIT EVERY");
    }

    #[test]
    fn the_carriers_cannot_be_written() {
        refused(
            "SELECT 1 SETTINGS riverrun_clause = 0",
            "1:10 \"SETTINGS\" SETTINGS is not supported [Use a SET statement.]",
        );
        refused("SELECT * FROM t PREWHERE 0 WHERE 1", "1:17 \"PREWHERE\" PREWHERE is not supported");
    }

    #[test]
    fn strings_and_comments_are_left_alone() {
        assert_eq!(cut("SELECT 'EMIT FINAL' -- EMIT FINAL\n/* EMIT */").1, []);
    }
}

mod definitions {
    use super::*;

    #[test]
    fn a_stream() {
        let Body::CreateStream(stream) = body(
            "CREATE OR REPLACE STREAM Orders (id BIGINT NOT NULL, \"At\" TIMESTAMP(3), \
             WATERMARK FOR \"At\" AS \"At\" - INTERVAL '5 seconds' IDLE AFTER INTERVAL '1' MINUTE) \
             WITH (connector = 'file', rate = -5, csv.header = TRUE)",
        ) else {
            panic!()
        };
        assert_eq!((stream.name.value.as_str(), stream.if_exists), ("orders", IfExists::Replace));
        assert_eq!(
            stream.columns.iter().map(|column| column.place.offending()).collect::<Vec<_>>(),
            ["id BIGINT NOT NULL", "\"At\" TIMESTAMP(3)"]
        );
        let watermark = stream.watermark.unwrap();
        assert_eq!(watermark.column.value, "At");
        assert_eq!(watermark.expr.to_string(), "\"At\" - INTERVAL '5 seconds'");
        assert_eq!(watermark.idle_after, Some(Interval::from_millis(60_000)));
        let options: Vec<_> =
            stream.options.iter().map(|option| (option.key.value.as_str(), option.value.as_str())).collect();
        assert_eq!(options, [("connector", "file"), ("rate", "-5"), ("csv.header", "true")]);
    }

    #[test]
    fn a_stream_from_a_query_or_a_file() {
        let Body::CreateStream(stream) = body("CREATE SOURCE IF NOT EXISTS s AS SELECT 1 EMIT FINAL") else { panic!() };
        assert_eq!(stream.if_exists, IfExists::Keep);
        assert_eq!(stream.query.unwrap().clauses.len(), 1);
        let Body::CreateStream(stream) = body("CREATE STREAM s WITH (path = 'a.csv')") else { panic!() };
        assert!(stream.columns.is_empty() && stream.query.is_none());
        refused("CREATE STREAM s (a INT) AS SELECT 1", "1:17 \"(\" a stream that is derived from a query");
        refused("CREATE STREAM s (a INT PRIMARY KEY)", "1:18 \"a\" a stream has no primary key [Use CREATE TABLE");
        refused("CREATE STREAM s AS SELECT 1 WITH (a = 1)", "1:29 \"WITH\" options stand before AS");
    }

    #[test]
    fn a_table_has_a_key() {
        let key = |text: &str| match body(text) {
            Body::CreateTable(table) => table.primary_key.iter().map(|name| name.value.clone()).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(key("CREATE TABLE t (a INT, b INT, PRIMARY KEY (b, a))"), ["b", "a"]);
        assert_eq!(key("CREATE TABLE t (Id BIGINT PRIMARY KEY, b INT NOT NULL) WITH (path = 'x')"), ["id"]);
        refused(
            "CREATE TABLE t (a INT)",
            "1:14 \"t\" table \"t\" has no primary key [Add PRIMARY KEY (…), or use CREATE STREAM",
        );
        refused(
            "CREATE TABLE t (a INT PRIMARY KEY, PRIMARY KEY (a))",
            "1:36 \"PRIMARY\" there can be only one primary key",
        );
        refused(
            "CREATE TABLE t (a INT DEFAULT 5, PRIMARY KEY (a))",
            "1:17 \"a INT DEFAULT 5\" the column option DEFAULT 5 is not supported",
        );
        refused(
            "CREATE TABLE t AS SELECT 1",
            "1:16 \"AS\" CREATE TABLE … AS is not supported [Use CREATE MATERIALIZED VIEW",
        );
    }

    #[test]
    fn views_and_sinks() {
        let Body::CreateView(view) = body("CREATE OR REPLACE MATERIALIZED VIEW v (a, B) AS SELECT 1, 2") else {
            panic!()
        };
        assert!(view.materialized);
        assert_eq!(view.columns[1].value, "b");
        let Body::CreateView(view) = body("CREATE VIEW v AS (SELECT 1) UNION (SELECT 2)") else { panic!() };
        assert!(!view.materialized);
        let Body::CreateSink(sink) = body("CREATE SINK o (a INT) WITH (path = 'o.csv') AS SELECT 1 EMIT FINAL") else {
            panic!()
        };
        assert!(sink.query.is_some() && sink.options.len() == 1 && sink.columns.len() == 1);
        refused("CREATE SINK o AS SELECT 1", "1:15 \"AS\" expected WITH (…), found \"AS\" [Say where");
    }

    #[test]
    fn drops() {
        for (text, kind) in [
            ("DROP STREAM IF EXISTS x", ObjectKind::Stream),
            ("DROP SOURCE IF EXISTS x", ObjectKind::Stream),
            ("DROP TABLE IF EXISTS x", ObjectKind::Table),
            ("DROP VIEW IF EXISTS x", ObjectKind::View),
            ("DROP MATERIALIZED VIEW IF EXISTS x", ObjectKind::MaterializedView),
            ("DROP SINK IF EXISTS x", ObjectKind::Sink),
        ] {
            let Body::Drop(drop) = body(text) else { panic!() };
            assert_eq!((drop.kind, drop.if_exists, drop.name.value.as_str()), (kind, true, "x"));
        }
        refused(
            "DROP STRAEM x",
            "1:6 \"STRAEM\" expected STREAM, TABLE, VIEW, MATERIALIZED VIEW or SINK after DROP, found \"STRAEM\" [Did you mean STREAM?]",
        );
        refused("CREATE INDEX i", "1:8 \"INDEX\" expected STREAM, TABLE");
        refused(
            "CREATE OR REPLACE VIEW IF NOT EXISTS v AS SELECT 1",
            "1:8 \"OR\" OR REPLACE and IF NOT EXISTS contradict",
        );
    }
}

mod control {
    use super::*;

    #[test]
    fn rows() {
        let Body::Insert(insert) = body("INSERT INTO t (a, B) VALUES (1, -2), (3, 4)") else { panic!() };
        assert_eq!((insert.target.value.as_str(), insert.columns.len()), ("t", 2));
        assert_eq!(insert.query.ast.to_string(), "VALUES (1, -2), (3, 4)");
        let Body::Insert(insert) = body("INSERT INTO t (SELECT 1)") else { panic!() };
        assert!(insert.columns.is_empty());
        let Body::Delete(delete) = body("DELETE FROM t WHERE a = 1") else { panic!() };
        assert_eq!(delete.predicate.unwrap().to_string(), "a = 1");
        refused(
            "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING",
            "1:26 \"ON\" ON CONFLICT is not supported [INSERT INTO a table replaces",
        );
        refused("INSERT INTO t SELECT 1 RETURNING a", "1:24 \"RETURNING\" RETURNING is not supported");
        let Body::Update(update) = body("UPDATE t SET a = 1, \"B\" = a + 1 WHERE a < 1") else { panic!() };
        let set: Vec<String> =
            update.assignments.iter().map(|set| format!("{} {}", set.column.value, set.value)).collect();
        assert_eq!(
            (set, update.predicate.unwrap().to_string()),
            (vec!["a 1".into(), "B a + 1".into()], "a < 1".into())
        );
        refused("UPDATE t SET a = 1 FROM u", "1:20 \"FROM\" UPDATE … FROM is not supported [INSERT INTO");
        refused("MERGE INTO t USING u", "1:1 \"MERGE\" MERGE is not supported [INSERT INTO");
    }

    #[test]
    fn copies() {
        for (text, query, options) in [
            ("COPY (SELECT 1) TO 'o.csv'", "(SELECT 1)", 1),
            ("COPY t TO 'o.csv' WITH (format = 'csv')", "SELECT * FROM t", 2),
            ("COPY \"T\" TO 'o.csv' (format = 'csv', header = false)", "SELECT * FROM \"T\"", 3),
        ] {
            let Body::Copy(copy) = body(text) else { panic!() };
            assert_eq!((copy.query.ast.to_string().as_str(), copy.options.len()), (query, options));
            assert_eq!((copy.options[0].key.value.as_str(), copy.options[0].value.as_str()), ("path", "o.csv"));
        }
        refused("COPY t FROM 'a.csv'", "1:8 \"FROM\" COPY … FROM is not supported");
    }

    #[test]
    fn explains_take_the_query() {
        for text in [
            "EXPLAIN SELECT 1",
            "EXPLAIN DECLARE c CURSOR FOR SELECT 1",
            "EXPLAIN CREATE VIEW v AS SELECT 1",
            "EXPLAIN INSERT INTO t SELECT 1",
            "EXPLAIN CREATE SINK s WITH (path = 'a') AS SELECT 1",
        ] {
            let Body::Explain(explain) = body(text) else { panic!() };
            assert_eq!((explain.analyze, explain.query.ast.to_string().as_str()), (false, "SELECT 1"));
        }
        let Body::Explain(explain) = body("EXPLAIN ANALYZE COPY (SELECT 1) TO 'x'") else { panic!() };
        assert!(explain.analyze);
        let Body::ExplainWhy(Silent::Name(name)) = body("explain why totals") else { panic!() };
        assert_eq!(name.value, "totals");
        assert!(matches!(body("EXPLAIN WHY SELECT 1"), Body::ExplainWhy(Silent::Query(_, Purpose::Asked))));
        refused("EXPLAIN CREATE TABLE t (a INT PRIMARY KEY)", "1:9 \"CREATE\" there is no query");
        refused("EXPLAIN EXPLAIN SELECT 1", "1:9 \"EXPLAIN\" expected a query");
    }

    #[test]
    fn cursors_and_time() {
        assert!(
            matches!(body("DECLARE c CURSOR FOR SELECT 1 EMIT RUNNING"), Body::Declare(declare) if declare.query.clauses.len() == 1)
        );
        assert!(matches!(body("FETCH ALL FROM c"), Body::Fetch(Fetch { count: None, .. })));
        assert!(matches!(body("FETCH 10 c"), Body::Fetch(Fetch { count: Some(10), .. })));
        assert!(matches!(body("CLOSE c"), Body::CloseCursor(name) if name.value == "c"));
        assert!(matches!(body("CLOSE STREAM S"), Body::CloseStream(name) if name.value == "s"));
        assert!(
            matches!(body("ADVANCE CLOCK BY INTERVAL '5 seconds'"), Body::AdvanceClock(AdvanceClock::By(by)) if by == Interval::from_millis(5_000))
        );
        assert!(
            matches!(body("ADVANCE CLOCK TO TIMESTAMP '1970-01-01 00:00:01'"), Body::AdvanceClock(AdvanceClock::To(to)) if to == Timestamp::from_millis(1_000))
        );
        assert!(
            matches!(body("ADVANCE WATERMARK OF s TO TIMESTAMP '1970-01-01'"), Body::AdvanceWatermark(to) if to.to == Timestamp::from_millis(0))
        );
        assert!(matches!(body("CHECKPOINT"), Body::Checkpoint));
        assert!(matches!(body("restart;"), Body::Restart));
        refused("ADVANCE CLOCK BY INTERVAL '-5 seconds'", "1:18 \"INTERVAL\" the clock cannot go back");
        refused("ADVANCE CLOCK TO TIMESTAMP 'noon'", "1:28 \"'noon'\" \"noon\" is no point in time [Write it as");
        refused("ADVANCE CLOCK BY INTERVAL '1 month'", "1:27 \"'1 month'\" months and years");
        refused("FETCH 1.5 FROM c", "1:7 \"1.5\" expected ALL or a whole number of rows");
    }

    #[test]
    fn settings() {
        for (text, key, value) in [
            ("SET clock = 'manual'", "clock", "manual"),
            ("SET require_bounded_state TO true", "require_bounded_state", "true"),
            ("SET a.b = -1.5", "a.b", "-1.5"),
        ] {
            let Body::Set(option) = body(text) else { panic!() };
            assert_eq!((option.key.value.as_str(), option.value.as_str()), (key, value));
        }
        for (text, kind) in [
            ("SHOW STREAMS", ObjectKind::Stream),
            ("SHOW TABLES", ObjectKind::Table),
            ("SHOW VIEWS", ObjectKind::View),
            ("SHOW MATERIALIZED VIEWS", ObjectKind::MaterializedView),
            ("SHOW SINKS", ObjectKind::Sink),
            ("SHOW FUNCTIONS", ObjectKind::Function),
            ("SHOW ALL", ObjectKind::All),
        ] {
            assert!(matches!(body(text), Body::ShowObjects(found) if found == kind), "{text}");
        }
        assert!(matches!(body("SHOW clock"), Body::ShowSetting(name) if name.value == "clock"));
        assert!(matches!(body("DESCRIBE t"), Body::Describe(name) if name.value == "t"));
        assert!(matches!(body("DESC \"T\""), Body::Describe(name) if name.value == "T"));
    }

    #[test]
    fn an_unknown_statement_is_guessed() {
        refused("SELCT 1", "1:1 \"SELCT\" expected a statement, found \"SELCT\" [Did you mean SELECT?]");
        refused("GRANT x", "1:1 \"GRANT\" expected a statement, found \"GRANT\" [A statement begins with");
    }
}

mod refusals {
    use super::*;

    #[test]
    fn what_the_planner_would_ignore_is_refused_with_its_place() {
        for (text, expected) in [
            ("SELECT * FROM t TABLESAMPLE (10)", "1:17 \"TABLESAMPLE\" TABLESAMPLE is not supported"),
            ("SELECT * FROM t WITH (NOLOCK)", "1:17 \"WITH (\" a table hint is not supported"),
            ("SELECT * FROM t FOR UPDATE", "1:17 \"FOR\" a row lock is not supported"),
            ("SELECT * FROM t PARTITION (p)", "1:17 \"PARTITION\" PARTITION behind a table is not supported"),
            (
                "SELECT * FROM a JOIN t AS x FOR SYSTEM_TIME AS OF a.at ON a.k = x.k",
                "1:29 \"FOR SYSTEM_TIME\" FOR SYSTEM_TIME here is not supported [Write a JOIN t FOR SYSTEM_TIME AS OF … AS x ON …: behind the name of the relation, before its alias.]",
            ),
            ("SELECT * FROM t FETCH FIRST 5 ROWS ONLY", "1:17 \"FETCH\" FETCH FIRST is not supported [Use LIMIT.]"),
            ("SELECT * FROM t LIMIT 1 BY x", "1:25 \"BY\""),
            ("SELECT TOP 5 x FROM t", "1:8 \"TOP\" TOP is not supported [Use LIMIT.]"),
            ("SELECT * FROM t PIVOT (sum(a) FOR b IN (1, 2))", "1:17 \"PIVOT\" PIVOT is not supported"),
            ("SELECT * FROM t UNPIVOT (a FOR b IN (c, d))", "1:17 \"UNPIVOT\" UNPIVOT is not supported"),
            ("WITH RECURSIVE r AS (SELECT 1) SELECT * FROM r", "1:6 \"RECURSIVE\" a recursive query is not supported"),
            ("SELECT * FROM UNNEST([1]) WITH ORDINALITY", "1:27 \"WITH ORDINALITY\" WITH ORDINALITY is not supported"),
            ("SELECT a INTO b FROM t", "1:10 \"INTO\" SELECT INTO is not supported"),
            ("SELECT * FROM t LATERAL VIEW explode(a) x", "1:17 \"LATERAL VIEW\" LATERAL VIEW is not supported"),
            ("SELECT * FROM t CLUSTER BY a", "1:17 \"CLUSTER BY\" CLUSTER BY is not supported"),
            ("SELECT * FROM t DISTRIBUTE BY a", "1:17 \"DISTRIBUTE BY\" DISTRIBUTE BY is not supported"),
            ("SELECT * FROM t SORT BY a", "1:17 \"SORT BY\" SORT BY is not supported"),
            ("SELECT * FROM t CONNECT BY a", "1:17 \"CONNECT BY\" CONNECT BY is not supported"),
            ("SELECT * FROM t FORMAT JSON", "1:17 \"FORMAT\" FORMAT is not supported"),
            ("SELECT * FROM t FOR XML AUTO", "1:17 \"FOR\" FOR XML, JSON or BROWSE is not supported"),
            ("SELECT AS STRUCT 1 AS a", "1:8"),
            (
                "SELECT * FROM t MATCH_RECOGNIZE (PATTERN (a) DEFINE a AS b)",
                "1:17 \"MATCH_RECOGNIZE\" MATCH_RECOGNIZE is not supported",
            ),
            ("SELECT * FROM t |> WHERE a", "1:17 \"|>\" the pipe operator is not supported"),
            ("FROM t SELECT a", "1:1 \"FROM\" expected a statement"),
            ("SELECT * FROM WHERE a > 1", "1:15 \"WHERE\" expected the name of a relation, found \"WHERE\""),
            ("SELECT 1 UNION SELECT * FROM t FOR SHARE", "1:32 \"FOR\" a row lock"),
            ("SELECT * FROM (SELECT * FROM t TABLESAMPLE (10)) x", "1:32 \"TABLESAMPLE\""),
            ("WITH x AS (INSERT INTO t VALUES (1)) SELECT 1", "1:12 \"INSERT\""),
            ("SELECT 1 MINUS SELECT 2", "1:10 \"MINUS\" MINUS is not supported [Use EXCEPT.]"),
        ] {
            refused(text, expected);
        }
    }

    #[test]
    fn allow_lateness_is_a_grouping_key() {
        refused("SELECT k FROM t ALLOW LATENESS INTERVAL '1 day'", "1:17 \"ALLOW LATENESS INTERVAL '1 day'\"");
        refused("SELECT k FROM t GROUP BY k ALLOW LATENESS soon", "1:43 \"soon\" expected INTERVAL '…'");
        let text = "SELECT k FROM t GROUP BY k ALLOW LATENESS INTERVAL '1' DAY HAVING k > 1 EMIT FINAL";
        assert!(tree(text).contains("GROUP BY k, __allow_lateness(INTERVAL '1' DAY) HAVING k > 1"));
    }

    #[test]
    fn a_bad_interval_has_a_place() {
        refused("SELECT a + INTERVAL '5 bananas'", "1:21 \"'5 bananas'\" \"bananas\" is no unit of time");
        refused("SELECT INTERVAL 'x' FROM t", "1:17 \"'x'\" expected a number, found \"x\"");
    }

    #[test]
    fn collect_arguments_give_intervals() {
        let text: Arc<str> = "SELECT f(INTERVAL '5' MINUTE, -INTERVAL '1 second', 7)".into();
        let query = query(&text);
        let mut found = Vec::new();
        let _ = visit_expressions(&*query.ast, |expr| {
            if let ast::Expr::Function(function) = expr
                && let ast::FunctionArguments::List(list) = &function.args
            {
                for argument in &list.args {
                    if let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) = argument {
                        found.push(interval_of(&text, expr).map(Interval::nanos).map_err(|error| error.to_string()));
                    }
                }
            }
            std::ops::ControlFlow::<()>::Continue(())
        });
        let expected = "expected an interval at line 1, column 53".to_string();
        assert_eq!(found, [Ok(300_000_000_000), Ok(-1_000_000_000), Err(expected)]);
    }
}

mod scripts {
    use super::*;

    #[test]
    fn statements_know_their_text() {
        let found = statements("-- é\n SELECT 1 ; ;\n\nSHOW ALL;\n SELECT 'ß;' /* ; */ ").unwrap();
        let texts: Vec<_> = found.iter().map(|statement| &statement.text[statement.bytes.clone()]).collect();
        assert_eq!(texts, ["SELECT 1", "SHOW ALL", "SELECT 'ß;'"]);
    }

    #[test]
    fn an_error_comes_after_the_statements_before_it() {
        let read = |text: &str| {
            Statements::new(text, Limits::default())
                .map(|item| item.map(drop).map_err(|error| error.to_string()))
                .collect::<Vec<_>>()
        };
        let wrong = Err("expected an expression, found the end of the statement at line 1, column 21".to_string());
        assert_eq!(read("SELECT 1; SELECT 1 + ; SELECT 2"), [Ok(()), wrong, Ok(())]);
        let open = Err("unterminated string literal at line 2, column 8".to_string());
        assert_eq!(read("SELECT 1;\nSELECT 'abc; SELECT 2"), [Ok(()), open]);
    }

    #[test]
    fn limits_are_errors() {
        let limited = |text: &str, limits: Limits| parse(text, &limits).unwrap_err().code();
        assert_eq!(limited("SELECT 1", Limits { sql_bytes: 4, ..Limits::default() }), Code::Limit);
        assert_eq!(limited("SELECT 1", Limits { tokens: 1, ..Limits::default() }), Code::Limit);
        assert_eq!(limited("SELECT ((1))", Limits { nesting: 1, ..Limits::default() }), Code::Limit);
        assert_eq!(limited("SELECT 1+1+1", Limits { chain: 1, ..Limits::default() }), Code::Limit);
        assert!(parse("SELECT 1+1, 1+1; SELECT 1+1", &Limits { chain: 1, ..Limits::default() }).is_ok());
    }

    #[test]
    fn a_long_insert_is_no_chain() {
        let rows: Vec<String> = (0..20_000).map(|n| format!("(-{n}, 'x', {n} + 1)")).collect();
        assert!(statements(&format!("INSERT INTO t VALUES {}", rows.join(", "))).is_ok());
    }
}

mod hostile {
    use super::*;

    /// Reads, prints and drops a text on a thread with the stack that threads get, within the time a person waits.
    fn survives(name: &str, text: String) {
        let started = std::time::Instant::now();
        let thread = std::thread::Builder::new().stack_size(2 << 20);
        let result = thread
            .spawn(move || {
                statements(&text).map(|s| if std::env::var("CLONE").is_ok() { drop(s.clone()) } else { drop(s) })
            })
            .unwrap()
            .join()
            .unwrap();
        assert!(started.elapsed().as_secs() < 20, "{name} took {:?}", started.elapsed());
        if let Err(error) = result {
            assert_ne!(error.code(), Code::Internal, "{name}: {error}");
        }
    }

    /// The shapes, repeated so often.
    fn shapes(times: usize) -> Vec<(&'static str, String)> {
        let nest = |open: &str, inner: &str, close: &str| {
            format!("SELECT {}{inner}{}", open.repeat(times), close.repeat(times))
        };
        let chain = |first: &str, more: &str| format!("{first}{}", more.repeat(times));
        vec![
            ("parentheses", nest("(", "1", ")")),
            ("open parentheses", nest("(", "", "")),
            ("sums", chain("SELECT 1", "+1")),
            ("ands", chain("SELECT a", " AND a")),
            ("unions", chain("SELECT 1", " UNION SELECT 1")),
            ("joins", chain("SELECT * FROM t", " JOIN t")),
            ("using", chain("SELECT k FROM t t0", " FULL JOIN t USING (k)")),
            ("commas", chain("SELECT * FROM t", ", t")),
            ("nots", nest("NOT ", "a", "")),
            ("minuses", nest("- ", "1", "")),
            ("cases", nest("CASE WHEN a THEN ", "1", " END")),
            ("open cases", nest("CASE ", "", "")),
            ("arrays", nest("[", "1", "]")),
            ("calls", nest("f(", "1", ")")),
            ("casts", nest("cast(", "1", ")")),
            ("open casts", nest("cast(cast(trim(position(", "1", "")),
            ("derived tables", format!("{}t{}", "SELECT * FROM (".repeat(times), ") x".repeat(times))),
            ("nested queries", nest("(SELECT ", "1", ")")),
            ("doubled derived tables", "SELECT * FROM ((".repeat(times)),
            ("tripled derived tables", format!("{}t{}", "SELECT * FROM (((".repeat(times), ") x))".repeat(times))),
            ("doubled subqueries", "SELECT a IN ((".repeat(times)),
            ("types", format!("SELECT CAST(a AS {}INT{})", "ARRAY<".repeat(times), ">".repeat(times))),
            ("structs", format!("SELECT {}INT{}(1)", "STRUCT<a ".repeat(times), ">".repeat(times))),
            ("bracket types", format!("SELECT CAST(a AS INT{})", "[]".repeat(times))),
            (
                "patterns",
                format!(
                    "SELECT * FROM t MATCH_RECOGNIZE (PATTERN ({}a{}) DEFINE a AS b)",
                    "(".repeat(times),
                    ")*".repeat(times)
                ),
            ),
            (
                "quantifiers",
                format!("SELECT * FROM t MATCH_RECOGNIZE (PATTERN (a{}) DEFINE a AS b)", "*".repeat(times)),
            ),
            ("intervals", nest("INTERVAL ", "'1'", "")),
            ("subscripts", chain("SELECT a", "[1]")),
            ("fields", chain("SELECT a", ".a")),
            ("type casts", chain("SELECT a", "::INT")),
            ("is null", chain("SELECT a", " IS NULL")),
            ("pivots", chain("SELECT * FROM t", " PIVOT (sum(a) FOR b IN (1))")),
            ("withs", format!("{}SELECT 1{}", "WITH x AS (".repeat(times), ") SELECT 1".repeat(times))),
            ("inserts", "INSERT INTO t ".repeat(times)),
            ("explains", "EXPLAIN ".repeat(times)),
            ("nested joins", format!("SELECT * FROM {}t{}", "(t JOIN ".repeat(times), ")".repeat(times))),
            ("dictionaries", nest("{'a': ", "1", "}")),
            ("exists", nest("EXISTS (SELECT ", "1", ")")),
            ("table arguments", format!("SELECT * FROM {}t", "f(TABLE (SELECT * FROM ".repeat(times))),
            ("grouping", format!("SELECT 1 GROUP BY {}", "ROLLUP (".repeat(times))),
            ("mixed", format!("SELECT {}1", "(1+1+1+1+1+1+1+1+1+1+".repeat(times))),
            ("comments", "/*".repeat(times)),
            ("column options", format!("CREATE STREAM s (a INT{})", " NOT NULL".repeat(times))),
        ]
    }

    #[test]
    fn no_text_overflows_the_stack() {
        for times in [10, 24, 49, 450, 498, 20_000] {
            for (name, text) in shapes(times) {
                survives(name, text);
            }
        }
    }

    const SEEDS: &[&str] = &[
        "SELECT a, b + 1 AS c FROM t WHERE a > 5 AND b IN (1, 2, 3) ORDER BY a LIMIT 10",
        "SELECT k, count(*) FILTER (WHERE x > 1) FROM t GROUP BY k HAVING count(*) > 2 EMIT FINAL",
        "SELECT k FROM a FULL JOIN b USING (k) FULL JOIN c USING (k) KEEP FIRST EMIT RUNNING WHERE k > 1",
        "SELECT * FROM a LEFT JOIN b ON a.k = b.k RIGHT JOIN c USING (k) EMIT CHANGES",
        "WITH x AS (SELECT 1 AS a EMIT FINAL), y AS (SELECT 2) SELECT * FROM x UNION ALL SELECT * FROM y EMIT COMPLETE",
        "SELECT * FROM (SELECT a FROM (VALUES (1), (2)) AS v (a)) q WHERE EXISTS (SELECT 1 FROM z)",
        "SELECT CASE WHEN a THEN 1 ELSE 2 END, CAST(b AS DECIMAL(10, 2)), x::INT[], [1, 2][1], {'a': 1} FROM t",
        "SELECT sum(v) OVER (PARTITION BY k ORDER BY at ROWS BETWEEN 3 PRECEDING AND CURRENT ROW) FROM t",
        "SELECT * FROM TABLE(TUMBLE(TABLE bids PARTITION BY k, DESCRIPTOR(at), INTERVAL '10' SECOND)) w",
        "SELECT EXTRACT(YEAR FROM a), SUBSTRING(b FROM 1 FOR 2), TRIM(LEADING 'x' FROM c), POSITION('a' IN d)",
        "SELECT * FROM 'a.csv' JOIN 'b.csv' ON a = b",
        "SELECT a -> 'b' ->> 'c', d ? 'e', f ~ 'g', h LIKE 'i' ESCAPE '!', INTERVAL '1 day' FROM t",
        "SELECT count(*) FROM t GROUP BY GROUPING SETS ((a, b), ROLLUP (c), ()), COLLECT(max_rows => 3)",
        "CREATE STREAM s (a INT NOT NULL, b TIMESTAMP, WATERMARK FOR b AS b - INTERVAL '5 seconds' IDLE AFTER INTERVAL '1 minute') WITH (path = 'x', n = 5)",
        "CREATE TABLE IF NOT EXISTS t (a INT, b ARRAY<STRUCT<c INT>>, PRIMARY KEY (a, b)) WITH (a.b = true)",
        "CREATE OR REPLACE MATERIALIZED VIEW v (a, b) AS SELECT 1, 2 EMIT EVERY INTERVAL '5 seconds' AND FINAL",
        "CREATE SINK o (a INT) WITH (path = 'o.csv') AS SELECT a FROM t EMIT ON WINDOW CLOSE",
        "INSERT INTO t (a, b) VALUES (1, 'x'), (-2, NULL)",
        "DELETE FROM t WHERE a = 1 OR b BETWEEN 1 AND 2",
        "COPY (SELECT * FROM t) TO 'o.csv' WITH (format = 'csv')",
        "COPY t TO 'o.csv' (header = true)",
        "EXPLAIN ANALYZE SELECT DISTINCT a FROM t",
        "DECLARE c CURSOR FOR SELECT a FROM t EMIT RUNNING KEEP LAST",
        "FETCH 10 FROM c; FETCH ALL c; CLOSE c; CLOSE STREAM s",
        "ADVANCE CLOCK BY INTERVAL '5' SECOND; ADVANCE CLOCK TO TIMESTAMP '2026-01-01 00:00:00'",
        "ADVANCE WATERMARK OF s TO TIMESTAMP '2026-01-01'; CHECKPOINT; RESTART",
        "SET a.b = 'c'; SET d TO -5; SHOW STREAMS; SHOW a.b; DESCRIBE t",
        "DROP MATERIALIZED VIEW IF EXISTS v; DROP STREAM \"S\"",
        "SELECT row_number() OVER w FROM t WINDOW w AS (PARTITION BY a) QUALIFY row_number() OVER w = 1",
        "SELECT a FROM t TABLESAMPLE (10) FOR UPDATE",
        "SELECT * FROM t PIVOT (sum(a) FOR b IN (1, 2)) AS p",
        "SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY a PATTERN (x y*) DEFINE x AS y > 1)",
        "SELECT STRUCT<a INT>(1), MAP {'a': 1}, ARRAY[1], ROW(1, 2), (1, 2) = (3, 4)",
        "SELECT * EXCLUDE (a) REPLACE (b AS c) FROM t, LATERAL (SELECT 1) x, UNNEST(t.a) AS u (v)",
        "SELECT a FROM t LEFT ASOF JOIN b MATCH_CONDITION (a.x >= b.x) USING (k)",
        "SELECT CONVERT(a USING utf8), CEIL(a TO DAY), OVERLAY(a PLACING b FROM 1), a COLLATE c, a AT TIME ZONE 'UTC'",
        "SELECT JSON_TABLE(a), XMLTABLE(b), MATCH (a) AGAINST ('b'), {fn now()}, {d '2026-01-01'}, $1, $name, :x, @y",
        "SELECT x'ab', b'01', E'a\\n', U&'\\0041', N'a', $$a$$, 1e5, 0x1F, 1_000, 'é', \"ü\", `ö`",
        "SELECT a NOT IN (SELECT b), a = ANY (SELECT b), a > ALL (SELECT c), NOT EXISTS (SELECT 1), a IS NOT DISTINCT FROM b",
        "SELECT listagg(a, ',') WITHIN GROUP (ORDER BY a), first_value(a) IGNORE NULLS OVER (ORDER BY b), array_agg(a ORDER BY b LIMIT 1)",
    ];

    /// Numbers that look random and are the same on every run.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % limit.max(1)
        }
    }

    /// A seed with a few tokens cut, doubled, swapped, or taken from another seed.
    fn mutate(random: &mut Random) -> String {
        let split = |seed: &str| {
            let spaced: String = seed
                .chars()
                .flat_map(|c| if "(),;[]{}.<>".contains(c) { vec![' ', c, ' '] } else { vec![c] })
                .collect();
            spaced.split_whitespace().map(str::to_string).collect::<Vec<_>>()
        };
        let mut tokens = split(SEEDS[random.below(SEEDS.len())]);
        let other = split(SEEDS[random.below(SEEDS.len())]);
        for _ in 0..=random.below(4) {
            let (here, there) = (random.below(tokens.len()), random.below(tokens.len()));
            match random.below(5) {
                0 if tokens.len() > 1 => drop(tokens.remove(here)),
                1 if !tokens.is_empty() => tokens.insert(there, tokens[here].clone()),
                2 if !tokens.is_empty() => tokens.swap(here, there),
                3 => tokens.truncate(here + 1),
                _ => tokens.insert(here, other[random.below(other.len())].clone()),
            }
        }
        tokens.join([" ", "", "\n", "\t"][usize::from(random.below(8) == 0) * random.below(4)])
    }

    #[test]
    fn no_mutated_statement_panics() {
        let mut random = Random(7);
        for _ in 0..std::env::var("FUZZ").map_or(6_000, |n| n.parse().unwrap()) {
            let text = mutate(&mut random);
            for item in Statements::new(&text, Limits::default()) {
                match item {
                    Ok(statement) => drop(format!("{statement:?}")),
                    Err(error) => {
                        assert_ne!(error.code(), Code::Internal, "{text}: {error}");
                        assert!(!error.to_string().contains(" at Line:"), "{text}: {error}");
                        let placed = error.place().is_some_and(|place| place.bytes().end <= text.len());
                        assert!(placed || error.code() == Code::Limit, "{text}: {error}");
                    }
                }
            }
            is_complete(&text);
        }
    }
}
