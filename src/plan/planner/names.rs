//! How users see what is in a plan: expressions as SQL, and no name that DataFusion or the planner has made up.

use std::collections::HashMap;

use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, ScalarValue};
use datafusion_expr::expr::{
    AggregateFunction, AggregateFunctionParams, Alias, InList, NullTreatment, Sort, WindowFunction,
    WindowFunctionParams,
};
use datafusion_expr::logical_plan::{LogicalPlan, Projection};
use datafusion_expr::{BinaryExpr, Expr, WindowFrame};

use super::functions::SAME;
use super::windows::BOUNDS;
use crate::types::{Interval, type_name};

/// What parts a repeated name from its number: `SELECT k, k` has columns `k` and `k` + this + `1` while it is planned,
/// because DataFusion wants names to differ.
const REPEATED: char = '\u{e000}';
/// How DataFusion calls the lists and structs that an `unnest(…)` among the columns takes apart.
const UNNEST_PLACEHOLDER: &str = "__unnest_placeholder(";
/// How the planner calls the elements of an `UNNEST` in a `FROM`.
pub(super) const UNNESTED: &str = "__unnest_";
/// How DataFusion calls the column that tells grouping sets apart.
const GROUPING_ID: &str = "__grouping_id";

/// What the names of the aggregates begin with that give the bounds of a window.
const WINDOW_BOUND: &str = "__window_";

/// How the planner calls the number of a copy of a row.
pub(super) const COPY: &str = "__copy";

/// The name for the `nth` repetition of `name` among the columns of a query.
pub(super) fn repeated(name: &str, nth: usize) -> String {
    format!("{name}{REPEATED}{nth}")
}

/// A text without what the planner has put into names.
pub(super) fn visible(text: &str) -> String {
    let mut parts = text.split(REPEATED);
    let mut visible = parts.next().unwrap_or_default().to_string();
    for part in parts {
        visible.push_str(part.trim_start_matches(|letter: char| letter.is_ascii_digit()));
    }
    match visible.as_str() {
        GROUPING_ID => "grouping_id".into(),
        COPY => "copy".into(),
        "__lateness" => "lateness".into(),
        bound if bound.starts_with(WINDOW_BOUND) => window_bound(bound).unwrap_or(visible),
        _ => unplaced(&visible).unwrap_or(visible),
    }
}

/// `__window_end(bids.at)` is `window_end`.
fn window_bound(name: &str) -> Option<String> {
    let bound = BOUNDS.into_iter().find(|bound| name.starts_with(bound))?;
    bound.strip_prefix("__").map(str::to_string)
}

/// `__unnest_placeholder(a.st).x` is `x`, and `__unnest_placeholder(a.tags,depth=1)` is `a.tags`.
fn unplaced(name: &str) -> Option<String> {
    let rest = name.strip_prefix(UNNEST_PLACEHOLDER)?;
    let (inner, field) = rest.rsplit_once(')')?;
    Some(match field.strip_prefix('.') {
        Some(field) => field.to_string(),
        None => inner.split_once(",depth=").map_or(inner, |(inner, _)| inner).to_string(),
    })
}

/// What users call a relation: DataFusion gives names of its own to the subqueries that it makes joins of.
pub(super) fn relation_name(name: &str) -> String {
    let number = |prefix| name.strip_prefix(prefix);
    match (number("__correlated_sq_"), number("__scalar_sq_"), number("__compared_")) {
        (Some(number), _, _) => format!("subquery_{number}"),
        (_, Some(number), _) => format!("value_{number}"),
        (_, _, Some(number)) => format!("compared_{number}"),
        (None, None, None) => name.to_string(),
    }
}

/// What users call the columns whose names were made from expressions.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<String, String>);

impl Names {
    /// Those of a whole plan.
    pub fn of(plan: &LogicalPlan) -> Names {
        let mut names = Names::default();
        names.note_plan(plan);
        names
    }

    fn note_plan(&mut self, plan: &LogicalPlan) {
        for input in plan.inputs() {
            self.note_plan(input);
        }
        match plan {
            LogicalPlan::SubqueryAlias(node) => {
                if let LogicalPlan::Projection(projection) = node.input.as_ref() {
                    self.note_numbered(projection);
                }
            }
            LogicalPlan::Projection(_) => plan.expressions().iter().for_each(|expr| self.note(expr)),
            LogicalPlan::Aggregate(_) | LogicalPlan::Extension(_) | LogicalPlan::Window(_) => {
                plan.expressions().iter().for_each(|expr| self.note_kept(expr));
            }
            // No other of DataFusion's nodes names a column after an expression.
            _ => {}
        }
    }

    fn note(&mut self, expr: &Expr) {
        match expr {
            Expr::Column(_) => {}
            Expr::Alias(Alias { expr, name, .. }) if name.starts_with(UNNESTED) => {
                self.0.insert(name.clone(), self.text(expr));
            }
            Expr::Alias(_) => {}
            other => {
                self.0.insert(other.schema_name().to_string(), self.text(other));
            }
        }
    }

    /// As [`Names::note`], where an alias is no name that a user gave: DataFusion keeps the name of what it has rewritten.
    fn note_kept(&mut self, expr: &Expr) {
        match expr {
            Expr::Alias(Alias { name, .. }) if name == COPY => {}
            Expr::Alias(Alias { expr, name, .. }) => {
                self.0.insert(name.clone(), self.text(expr));
            }
            other => self.note(other),
        }
    }

    /// DataFusion calls the second column `k` of a derived table `k:1`.
    fn note_numbered(&mut self, projection: &Projection) {
        for expr in &projection.expr {
            if let Expr::Alias(Alias { expr, name, .. }) = expr
                && let Expr::Column(column) = expr.as_ref()
                && let Some(number) = name.strip_prefix(&column.name).and_then(|rest| rest.strip_prefix(':'))
                && number.parse::<usize>().is_ok()
            {
                self.0.insert(name.clone(), self.name(&column.name));
            }
        }
    }

    /// What users call the column `name`.
    pub fn name(&self, name: &str) -> String {
        visible(self.0.get(name).map_or(name, String::as_str))
    }

    /// An expression as SQL.
    pub fn text(&self, expr: &Expr) -> String {
        match expr {
            Expr::Column(column) => self.column(column),
            Expr::Literal(value, _) => literal(value),
            Expr::Alias(alias) => self.text(&alias.expr),
            Expr::Cast(cast) => format!("CAST({} AS {})", self.text(&cast.expr), type_name(cast.field.data_type())),
            Expr::TryCast(cast) => {
                format!("TRY_CAST({} AS {})", self.text(&cast.expr), type_name(cast.field.data_type()))
            }
            Expr::ScalarFunction(call) if call.name() == SAME => self.list(call.args.get(..1).unwrap_or_default()),
            Expr::ScalarFunction(call) => format!("{}({})", call.name(), self.list(&call.args)),
            Expr::AggregateFunction(call) => self.aggregate(call),
            Expr::WindowFunction(call) => self.window(call),
            Expr::BinaryExpr(binary) => self.binary(binary),
            Expr::InList(InList { expr, list, negated }) => {
                let not = if *negated { "NOT " } else { "" };
                format!("{} {not}IN ({})", self.text(expr), self.list(list))
            }
            // DataFusion writes the rest as we would, once its parts are written.
            other => self.with_parts_written(other),
        }
    }

    fn with_parts_written(&self, expr: &Expr) -> String {
        let written = expr.clone().map_children(|part| {
            let text = match &part {
                Expr::BinaryExpr(_) => format!("({})", self.text(&part)),
                _ => self.text(&part),
            };
            Ok(Transformed::yes(Expr::Column(Column::new_unqualified(text))))
        });
        written.map_or_else(|_| expr.to_string(), |written| written.data.to_string())
    }

    fn column(&self, column: &Column) -> String {
        match &column.relation {
            Some(relation) => format!("{}.{}", relation_name(&relation.to_string()), self.name(&column.name)),
            None => self.name(&column.name),
        }
    }

    /// Expressions as SQL, with commas between them.
    pub fn list(&self, exprs: &[Expr]) -> String {
        exprs.iter().map(|expr| self.text(expr)).collect::<Vec<_>>().join(", ")
    }

    fn binary(&self, binary: &BinaryExpr) -> String {
        let own = binary.op.precedence();
        let side = |side: &Expr, binds: fn(u8, u8) -> bool| match side {
            Expr::BinaryExpr(inner) if !binds(inner.op.precedence(), own) => format!("({})", self.text(side)),
            _ => self.text(side),
        };
        let left = side(&binary.left, |inner, own| inner >= own && inner > 0);
        let right = side(&binary.right, |inner, own| inner > own);
        format!("{left} {} {right}", binary.op)
    }

    fn aggregate(&self, call: &AggregateFunction) -> String {
        if let Some(bound) = window_bound(call.func.name()) {
            return bound;
        }
        let AggregateFunctionParams { args, distinct, filter, order_by, null_treatment } = &call.params;
        let distinct = if *distinct { "DISTINCT " } else { "" };
        // DataFusion counts rows by counting a literal.
        let args = match args.as_slice() {
            [Expr::Literal(value, _)] if call.func.name() == "count" && !value.is_null() => "*".into(),
            args => self.list(args),
        };
        let order = match order_by.as_slice() {
            [] => String::new(),
            keys => format!(" ORDER BY {}", keys.iter().map(|key| self.sort_key(key)).collect::<Vec<_>>().join(", ")),
        };
        let nulls = match null_treatment {
            Some(NullTreatment::IgnoreNulls) => " IGNORE NULLS",
            Some(NullTreatment::RespectNulls) | None => "",
        };
        let filter = filter.as_ref().map(|filter| format!(" FILTER (WHERE {})", self.text(filter)));
        let filter = filter.unwrap_or_default();
        format!("{}({distinct}{args}{order}){nulls}{filter}", call.func.name())
    }

    fn window(&self, call: &WindowFunction) -> String {
        let WindowFunctionParams { args, partition_by, order_by, window_frame, filter, null_treatment, distinct } =
            &call.params;
        let distinct = if *distinct { "DISTINCT " } else { "" };
        let args = match args.as_slice() {
            [Expr::Literal(value, _)] if call.fun.name() == "count" && !value.is_null() => "*".into(),
            args => self.list(args),
        };
        let nulls = match null_treatment {
            Some(NullTreatment::IgnoreNulls) => " IGNORE NULLS",
            Some(NullTreatment::RespectNulls) | None => "",
        };
        let filter = filter.as_ref().map(|filter| format!(" FILTER (WHERE {})", self.text(filter)));
        let order: Vec<String> = order_by.iter().map(|key| self.sort_key(key)).collect();
        let mut parts = vec![];
        if !partition_by.is_empty() {
            parts.push(format!("PARTITION BY {}", self.list(partition_by)));
        }
        if !order.is_empty() {
            parts.push(format!("ORDER BY {}", order.join(", ")));
        }
        if window_frame.to_string() != WindowFrame::new((!order.is_empty()).then_some(false)).to_string() {
            parts.push(window_frame.to_string());
        }
        let (name, filter) = (call.fun.name(), filter.unwrap_or_default());
        format!("{name}({distinct}{args}){nulls}{filter} OVER ({})", parts.join(" "))
    }

    fn sort_key(&self, key: &Sort) -> String {
        let direction = if key.asc { "" } else { " DESC" };
        // NULLs are the largest values unless it is said otherwise.
        let nulls = match (key.asc, key.nulls_first) {
            (true, true) => " NULLS FIRST",
            (false, false) => " NULLS LAST",
            (true, false) | (false, true) => "",
        };
        format!("{}{direction}{nulls}", self.text(&key.expr))
    }
}

fn literal(value: &ScalarValue) -> String {
    let kind = match value {
        _ if value.is_null() => return "NULL".into(),
        ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
            return format!("'{}'", text.replace('\'', "''"));
        }
        // Of months and days the length is not the same everywhere; what is left is written as a person would.
        ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months == 0 && interval.days == 0 => {
            return format!("INTERVAL '{}'", Interval::from_nanos(interval.nanoseconds));
        }
        ScalarValue::Date32(_) | ScalarValue::Date64(_) => "DATE ",
        ScalarValue::TimestampSecond(..)
        | ScalarValue::TimestampMillisecond(..)
        | ScalarValue::TimestampMicrosecond(..)
        | ScalarValue::TimestampNanosecond(..) => "TIMESTAMP ",
        ScalarValue::IntervalYearMonth(_) | ScalarValue::IntervalDayTime(_) | ScalarValue::IntervalMonthDayNano(_) => {
            "INTERVAL "
        }
        _ => return shown(value).unwrap_or_else(|| value.to_string()),
    };
    match shown(value) {
        Some(text) => format!("{kind}'{text}'"),
        None => value.to_string(),
    }
}

/// The value as it is shown in results.
fn shown(value: &ScalarValue) -> Option<String> {
    let array = value.to_array().ok()?;
    arrow::util::display::array_value_to_string(&array, 0).ok()
}

#[cfg(test)]
mod tests {
    use datafusion_expr::{cast, col, lit};

    use super::*;

    #[test]
    fn an_expression_is_written_as_sql() {
        let names = Names::default();
        let check = |expr: Expr, text: &str| assert_eq!(names.text(&expr), text);
        check((col("a.x") + lit(1)) * lit(2.5), "(a.x + 1) * 2.5");
        check(col("a.x") - (col("y") - lit(1)), "a.x - (y - 1)");
        check(col("s").eq(lit("it's")).and(col("b").or(col("c"))), "s = 'it''s' AND (b OR c)");
        check(cast(col("x"), arrow::datatypes::DataType::Utf8), "CAST(x AS VARCHAR)");
        check(col("x").in_list(vec![lit(1), lit(ScalarValue::Int64(None))], true), "x NOT IN (1, NULL)");
        check((col("x") + lit(1)).is_null(), "(x + 1) IS NULL");
    }

    #[test]
    fn names_that_were_made_up_are_not_shown() {
        assert_eq!(visible(&repeated("k", 12)), "k");
        assert_eq!(visible("__unnest_placeholder(a.st).x"), "x");
        assert_eq!(visible("__unnest_placeholder(a.tags,depth=1)"), "a.tags");
        assert_eq!(visible("plain"), "plain");
    }
}
