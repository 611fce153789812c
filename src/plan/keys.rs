//! Which columns tell the rows of a result apart.
//!
//! ```text
//! Project: total, customer            key (customer), which is column 1
//!   Aggregate: keys (customer)        key (customer), which is column 0
//! ```
//!
//! What is found holds for the rows that are there at one moment: one of them may take the place of another with its key.

use crate::expr::Expr;
use crate::plan::depth::deeper;
use crate::plan::node::{
    Aggregate, AggregateEmit, Join, JoinKind, LookupJoin, Node, OrderedEmit, Rank, TopN, WindowAggregate,
};

/// The columns of `node`'s result in which no two rows agree; no column if there is one row at most.
///
/// `None` if nothing of the kind is known, as two rows may be alike. NULL is a value like any other here.
pub fn upsert_key(node: &Node) -> Option<Vec<usize>> {
    deeper(|| match node {
        Node::Source(node) => node.key.clone(),
        Node::Values(node) => (node.rows.num_rows() <= 1).then(Vec::new),
        Node::Filter(node) => upsert_key(&node.input),
        Node::Project(node) => projected(&upsert_key(&node.input)?, &node.exprs),
        Node::Aggregate(node) => grouped(node),
        Node::WindowAggregate(node) => windowed(node),
        Node::Join(node) => joined(node),
        // Each left row has one match at most.
        Node::AsofJoin(node) => upsert_key(&node.inputs[0]),
        Node::LookupJoin(node) => looked_up(node),
        Node::Sort(node) => upsert_key(&node.input),
        Node::Limit(node) => upsert_key(&node.input),
        Node::TopN(node) => first_rows(node),
        Node::Over(node) => upsert_key(&node.input),
        // These give several rows for one, or the same row from several inputs.
        Node::Unnest(_) | Node::Expand(_) | Node::Union(_) | Node::Windows(_) => None,
        // These say what was so at one moment, and later the same again.
        Node::KeyedJoin(_) | Node::Collect(_) | Node::Logic(_) => None,
    })
}

/// Where the columns of a key stand among `exprs`, if each of them is there as it is.
fn projected(key: &[usize], exprs: &[Expr]) -> Option<Vec<usize>> {
    key.iter().map(|column| exprs.iter().position(|expr| expr.column_index() == Some(*column))).collect()
}

/// The only first row of each partition is told by the partition, others by what tells the rows of the input apart.
fn first_rows(node: &TopN) -> Option<Vec<usize>> {
    match (node.emit, node.rank, node.fetch) {
        // It says a row again and again.
        (OrderedEmit::Running, _, _) => None,
        (OrderedEmit::Changes | OrderedEmit::Final, Rank::RowNumber, 1) => {
            let partition = node.partition.iter().map(Expr::column_index).collect::<Option<_>>();
            partition.or_else(|| upsert_key(&node.input))
        }
        // No two rows of a partition have the same number.
        (OrderedEmit::Changes | OrderedEmit::Final, Rank::RowNumber, _) if node.says_rank => {
            let partition: Option<Vec<usize>> = node.partition.iter().map(Expr::column_index).collect();
            let number = node.schema.fields().len().checked_sub(1);
            let numbered = partition.zip(number).map(|(key, number)| key.into_iter().chain([number]).collect());
            numbered.or_else(|| upsert_key(&node.input))
        }
        (OrderedEmit::Changes | OrderedEmit::Final, _, _) => upsert_key(&node.input),
    }
}

fn grouped(node: &Aggregate) -> Option<Vec<usize>> {
    match node.emit {
        AggregateEmit::Running => None,
        AggregateEmit::Final | AggregateEmit::Changes | AggregateEmit::Every(_) | AggregateEmit::EveryAndFinal(_) => {
            Some((0..node.keys.len()).collect())
        }
    }
}

/// A group of a window is told by its keys and the window's bounds.
fn windowed(node: &WindowAggregate) -> Option<Vec<usize>> {
    match node.emit {
        _ if node.says_late => None,
        AggregateEmit::Running => None,
        AggregateEmit::Final | AggregateEmit::Changes | AggregateEmit::Every(_) | AggregateEmit::EveryAndFinal(_) => {
            Some((0..node.keys.len() + 2).collect())
        }
    }
}

/// A row of a join is told by the rows it is made of. Where each row of one side has one match at most,
/// its own key is enough.
fn joined(join: &Join) -> Option<Vec<usize>> {
    let key = |side: usize| upsert_key(&join.inputs[side]);
    // Rows of a side that find no match have NULL for the other side's key.
    let (left_alone, right_alone) = match join.kind {
        JoinKind::Semi | JoinKind::Anti | JoinKind::Mark => return places(join, 0, &key(0)?),
        // A left row without a match and a right one may both be NULL in all that would tell them apart.
        JoinKind::Full => return None,
        JoinKind::Inner => (false, false),
        JoinKind::Left => (true, false),
        JoinKind::Right => (false, true),
    };
    let (left, right) = (key(0)?, key(1)?);
    if !right_alone && is_looked_up(join, 1, &right) {
        return places(join, 0, &left);
    }
    if !left_alone && is_looked_up(join, 0, &left) {
        return places(join, 1, &right);
    }
    let mut both = places(join, 0, &left)?;
    for place in places(join, 1, &right)? {
        if !both.contains(&place) {
            both.push(place);
        }
    }
    Some(both)
}

/// A left row has the rows that it found, or one match at most where it looks for the whole key.
fn looked_up(node: &LookupJoin) -> Option<Vec<usize>> {
    let (left, right) = (upsert_key(&node.inputs[0])?, upsert_key(&node.inputs[1])?);
    let is_asked = |column: &usize| node.keys[1].iter().any(|key| key.column_index() == Some(*column));
    if right.iter().all(is_asked) {
        return Some(left);
    }
    let width = node.inputs[0].schema().fields().len();
    Some(left.into_iter().chain(right.into_iter().map(|column| width + column)).collect())
}

/// Whether the condition of a join finds rows of `side` by their whole key, and so one at most.
fn is_looked_up(join: &Join, side: usize, key: &[usize]) -> bool {
    key.iter().all(|column| join.keys[side].iter().any(|expr| expr.column_index() == Some(*column)))
}

/// Where the columns of a side stand in the result of a join.
fn places(join: &Join, side: usize, columns: &[usize]) -> Option<Vec<usize>> {
    columns.iter().map(|column| place(join, side, *column)).collect()
}

/// Where a column of a side stands, or the one of the other side that it is equal to.
fn place(join: &Join, side: usize, column: usize) -> Option<usize> {
    let stands = |side: usize, column: usize| {
        let first = if side == 0 { 0 } else { join.columns[0].len() };
        join.columns[side].iter().position(|given| *given == column).map(|place| first + place)
    };
    let equal = || {
        let other = 1 - side;
        let pairs = join.keys[side].iter().zip(&join.keys[other]);
        let mut same = pairs.filter(|(own, _)| own.column_index() == Some(column));
        same.find_map(|(_, theirs)| stands(other, theirs.column_index()?))
    };
    stands(side, column).or_else(|| if join.kind == JoinKind::Inner { equal() } else { None })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::catalog::{Catalog, Relation, Stream, Table};
    use crate::plan::{self, Bounded, Context, Parameters, Reads};
    use crate::sql::{self, Body};

    /// Tables `people` and `cities` by `id`, `stock` by `shop` and `item`, and a stream `visits`.
    fn catalog() -> Catalog {
        let mut catalog = Catalog::default();
        plan::register_builtin_functions(&mut catalog);
        let columns = |names: &[&str]| {
            let fields = names.iter().map(|name| Field::new(*name, DataType::Int64, true));
            Arc::new(Schema::new(fields.collect::<Vec<_>>()))
        };
        let tables: [(&str, &[&str], Vec<usize>); 3] = [
            ("people", &["id", "city", "age"], vec![0]),
            ("cities", &["id", "country"], vec![0]),
            ("stock", &["pieces", "item", "shop"], vec![2, 1]),
        ];
        for (name, names, primary_key) in tables {
            let table = Table { schema: columns(names), primary_key, options: vec![], event_time: None };
            catalog.relations.insert(name.into(), Relation::Table(table));
        }
        let visits = Stream {
            schema: columns(&["person", "city"]),
            options: vec![],
            bounded: Bounded::UntilClosed,
            state_ttl: None,
            event_time: None,
        };
        catalog.relations.insert("visits".into(), Relation::Stream(visits));
        catalog
    }

    /// The names of the columns that are the key of a query's result.
    fn key_of(text: &str) -> Option<String> {
        let (catalog, files, closed, parameters) = (catalog(), HashMap::new(), BTreeSet::new(), Parameters::default());
        let context = Context {
            catalog: &catalog,
            files: &files,
            closed: &closed,
            parameters: &parameters,
            require_bounded_state: false,
            unordered: false,
            reads: Reads::Changes,
            state_ttl: None,
        };
        let statements = sql::parse(text, &sql::Limits::default()).unwrap();
        let Body::Query(query) = &statements[0].body else { panic!("not a query") };
        let plan = plan::plan_query(query, &context).unwrap_or_else(|error| panic!("{text}: {error}"));
        let schema = plan.root.schema();
        let names = |key: Vec<usize>| key.iter().map(|column| schema.field(*column).name().clone()).collect::<Vec<_>>();
        upsert_key(&plan.root).map(|key| names(key).join(", "))
    }

    fn check(cases: &[(&str, Option<&str>)]) {
        for (text, key) in cases {
            assert_eq!(key_of(text).as_deref(), *key, "of {text}");
        }
    }

    #[test]
    fn the_key_of_a_table_passes_where_its_columns_do() {
        check(&[
            ("SELECT * FROM people WHERE age > 3", Some("id")),
            ("SELECT age + 1 AS older, id AS number FROM people", Some("number")),
            ("SELECT city, age FROM people", None),
            ("SELECT id + 1 AS id FROM people", None),
            ("SELECT * FROM stock", Some("shop, item")),
            ("SELECT shop, pieces FROM stock", None),
            ("SELECT * FROM visits", None),
            ("SELECT 1 AS one", Some("")),
            ("SELECT id FROM people UNION ALL SELECT id FROM cities", None),
        ]);
    }

    #[test]
    fn groups_are_told_by_what_they_are_grouped_by() {
        check(&[
            ("SELECT sum(age) AS s, city FROM people GROUP BY city", Some("city")),
            ("SELECT sum(age) AS s FROM people GROUP BY city", None),
            ("SELECT count(*) AS n FROM visits", Some("")),
            ("SELECT DISTINCT person, city FROM visits", Some("person, city")),
            ("SELECT person, count(*) AS n FROM visits GROUP BY person EMIT RUNNING", None),
            ("SELECT person, count(*) AS n FROM visits GROUP BY person EMIT FINAL", Some("person")),
            ("SELECT person, city, count(*) AS n FROM visits GROUP BY ROLLUP (person, city)", None),
        ]);
    }

    #[test]
    fn ranked_rows_are_told_by_their_rank() {
        let ranked = |select: &str, rank: &str, most: u32| {
            let ranks = format!("{rank}() OVER (PARTITION BY city ORDER BY person) AS n");
            format!("SELECT {select} FROM (SELECT person, city, {ranks} FROM visits) AS v WHERE n <= {most}")
        };
        check(&[
            (&ranked("person, city, n", "row_number", 3), Some("city, n")),
            (&ranked("person, city", "row_number", 3), None),
            (&ranked("person, city", "row_number", 1), Some("city")),
            (&ranked("person, city, n", "rank", 3), None),
        ]);
    }

    #[test]
    fn a_row_of_a_join_is_told_by_the_rows_it_is_made_of() {
        check(&[
            ("SELECT p.id AS p, c.id AS c FROM people p JOIN cities c ON p.age < c.country", Some("p, c")),
            ("SELECT p.id AS p, country FROM people p JOIN cities c ON p.age < c.country", None),
            ("SELECT p.id AS p, country FROM people p JOIN cities c ON p.city = c.id", Some("p")),
            ("SELECT p.id AS p, country FROM people p LEFT JOIN cities c ON p.city = c.id", Some("p")),
            ("SELECT p.id AS p, c.id AS c FROM people p RIGHT JOIN cities c ON p.city = c.id", Some("p, c")),
            ("SELECT c.id AS c, age FROM people p RIGHT JOIN cities c ON p.id = c.country", Some("c")),
            ("SELECT p.id AS p, c.id AS c FROM people p FULL JOIN cities c ON p.city = c.id", None),
            ("SELECT c.id AS c, age FROM people p JOIN cities c ON p.id = c.id", Some("c")),
            ("SELECT person, country FROM visits JOIN cities ON city = id", None),
        ]);
    }

    #[test]
    fn rows_that_are_only_chosen_keep_their_key() {
        check(&[
            ("SELECT id FROM people WHERE city IN (SELECT id FROM cities)", Some("id")),
            ("SELECT id FROM people p WHERE NOT EXISTS (SELECT 1 FROM cities c WHERE c.id = p.city)", Some("id")),
            ("SELECT id, (SELECT count(*) FROM visits) AS n FROM people", Some("id")),
            ("SELECT city, count(*) AS n FROM people GROUP BY city EMIT FINAL LIMIT 3", Some("city")),
        ]);
    }
}
