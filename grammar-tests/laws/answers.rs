//! Answers as rows that can be compared: exactly, as multisets with a tolerance, and folded from a changelog.

use std::collections::BTreeMap;
use std::fmt;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// A value of an answer.
#[derive(Debug, Clone)]
pub enum Cell {
    Null,
    Text(String),
    Float(f64),
}

pub type Answer = Vec<Vec<Cell>>;

/// The rows of the batches.
pub fn rows(batches: &[RecordBatch]) -> Answer {
    batches.iter().flat_map(batch_rows).collect()
}

fn batch_rows(batch: &RecordBatch) -> Answer {
    let columns: Vec<Vec<Cell>> = batch.columns().iter().map(|column| cells(column.as_ref())).collect();
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect()
}

fn cells(column: &dyn Array) -> Vec<Cell> {
    if matches!(column.data_type(), DataType::Float64 | DataType::Float32) {
        let floats = cast(column, &DataType::Float64).expect("a float is a float");
        let floats = floats.as_primitive::<Float64Type>();
        return floats.iter().map(|value| value.map_or(Cell::Null, Cell::Float)).collect();
    }
    let options = FormatOptions::default().with_null("NULL");
    let formatter = ArrayFormatter::try_new(column, &options).expect("a result can be shown");
    let cell = |row| if column.is_null(row) { Cell::Null } else { Cell::Text(formatter.value(row).to_string()) };
    (0..column.len()).map(cell).collect()
}

/// Whether they have the same rows in any order, floating-point numbers up to rounding.
pub fn same_multiset(left: &Answer, right: &Answer) -> bool {
    let (left, right) = (sorted(left), sorted(right));
    left.len() == right.len() && left.iter().zip(&right).all(|(left, right)| same_row(left, right))
}

/// Whether they have the same rows in the same order, to the last bit.
pub fn same_sequence(left: &Answer, right: &Answer) -> bool {
    left.iter().map(|row| exact(row)).eq(right.iter().map(|row| exact(row)))
}

fn sorted(answer: &Answer) -> Answer {
    let mut answer = answer.clone();
    // Texts first: rounding must not decide the order of rows that differ elsewhere.
    answer.sort_by_cached_key(|row| {
        (row.iter().map(coarse).collect::<Vec<_>>(), row.iter().map(fine).collect::<Vec<_>>())
    });
    answer
}

fn coarse(cell: &Cell) -> String {
    match cell {
        Cell::Null => "n".into(),
        Cell::Text(text) => format!("t{text}"),
        Cell::Float(_) => "f".into(),
    }
}

fn fine(cell: &Cell) -> String {
    match cell {
        Cell::Float(value) if value.abs() < 1e-6 => "0".into(),
        Cell::Float(value) => format!("{value:.5e}"),
        Cell::Null | Cell::Text(_) => String::new(),
    }
}

fn same_row(left: &[Cell], right: &[Cell]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same_cell(left, right))
}

fn same_cell(left: &Cell, right: &Cell) -> bool {
    match (left, right) {
        (Cell::Null, Cell::Null) => true,
        (Cell::Text(left), Cell::Text(right)) => left == right,
        (Cell::Float(left), Cell::Float(right)) => {
            let size = left.abs().max(right.abs());
            (left.is_nan() && right.is_nan()) || left == right || (left - right).abs() <= 1e-9 * size + 1e-7
        }
        (Cell::Null | Cell::Text(_) | Cell::Float(_), _) => false,
    }
}

/// The row as text from which nothing is lost.
pub fn exact(row: &[Cell]) -> String {
    let cells = row.iter().map(|cell| match cell {
        Cell::Null => "NULL".into(),
        Cell::Text(text) => format!("{text:?}"),
        Cell::Float(value) if value.is_nan() => "NaN".into(),
        Cell::Float(value) => format!("{value:?}"),
    });
    cells.collect::<Vec<String>>().join("  ")
}

/// What the rows of a changelog, or of an append-only relation, add up to.
#[derive(Default)]
pub struct Fold {
    rows: BTreeMap<String, (Vec<Cell>, usize)>,
}

impl Fold {
    /// Applies a batch; fails if it retracts a row that is not there.
    pub fn apply(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let changelog = batch.schema().fields().first().is_some_and(|field| field.name() == "op");
        for mut row in batch_rows(batch) {
            let op = if changelog { Some(exact(&row[..1])) } else { None };
            if changelog {
                row.remove(0);
            }
            match op.as_deref() {
                None | Some("\"+I\"" | "\"+U\"") => self.rows.entry(exact(&row)).or_insert((row, 0)).1 += 1,
                Some("\"-U\"" | "\"-D\"") => self.retract(&row)?,
                Some(other) => return Err(format!("{other} is not a row kind")),
            }
        }
        Ok(())
    }

    fn retract(&mut self, row: &[Cell]) -> Result<(), String> {
        let key = exact(row);
        let Some((_, count)) = self.rows.get_mut(&key) else {
            return Err(format!("a row is retracted that is not there: {key}"));
        };
        *count -= 1;
        if *count == 0 {
            self.rows.remove(&key);
        }
        Ok(())
    }

    /// The rows that are there.
    pub fn answer(&self) -> Answer {
        self.rows.values().flat_map(|(row, count)| std::iter::repeat_n(row.clone(), *count)).collect()
    }
}

/// Two answers, one under the other.
pub struct Difference<'a> {
    pub expected: &'a Answer,
    pub answered: &'a Answer,
}

impl fmt::Display for Difference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, answer) in [("expected", self.expected), ("answered", self.answered)] {
            writeln!(f, "{name}:")?;
            for row in answer {
                writeln!(f, "  {}", exact(row))?;
            }
        }
        Ok(())
    }
}
