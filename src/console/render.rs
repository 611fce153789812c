//! Results as text: for people, for scripts and for programs.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use comfy_table::presets::{ASCII_MARKDOWN, UTF8_FULL_CONDENSED};
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width};

use super::value::{Style, aligns_right, json_string, text, write_value};

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// A box for people.
    #[default]
    Table,
    /// Comma-separated values with a header; NULL is empty.
    Csv,
    /// One object a statement with a result: `{"statement": 1, "columns": [...], "rows": [[...], ...]}`.
    Json,
    /// One object a row.
    JsonLines,
    /// A Markdown table.
    Markdown,
    /// A header and the rows, aligned by two spaces: for scripts.
    Plain,
}

impl Format {
    /// Every format, in the order in which help names them.
    pub const ALL: [Format; 6] =
        [Format::Table, Format::Csv, Format::Json, Format::JsonLines, Format::Markdown, Format::Plain];

    /// Whether a row is written the same way whatever comes after it, so that rows need not wait for each other.
    pub(super) fn is_row_by_row(self) -> bool {
        matches!(self, Format::Csv | Format::JsonLines)
    }

    /// The name it goes by.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Table => "table",
            Format::Csv => "csv",
            Format::Json => "json",
            Format::JsonLines => "jsonl",
            Format::Markdown => "markdown",
            Format::Plain => "plain",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Format, String> {
        Format::ALL.into_iter().find(|format| format.as_str().eq_ignore_ascii_case(name)).ok_or_else(|| {
            format!("unknown format \"{name}\": it is one of {}", Format::ALL.map(Format::as_str).join(", "))
        })
    }
}

/// A result of more rows is not made one table, unless it has to fit into a width.
const LONG: usize = 10_000;
/// The blanks on both sides of a cell.
const PADDING: u16 = 2;

/// Some rows of the result of a statement.
pub(super) struct ResultSet<'a> {
    /// The number of the statement, counted from 1.
    pub statement: usize,
    /// The columns, with `op` first for a changelog.
    pub schema: &'a SchemaRef,
    /// The rows.
    pub batches: &'a [RecordBatch],
    /// Whether the rows continue what was written before.
    pub part: Part,
}

/// Which part of a result some rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Nothing was written before.
    First,
    /// The header was written before.
    Continued,
}

impl ResultSet<'_> {
    /// Writes the rows to `out`. A table is made to fit into `width` characters.
    pub fn write(&self, format: Format, width: Option<u16>, out: &mut dyn Write) -> io::Result<()> {
        match format {
            Format::Table => self.write_table(width, out),
            Format::Csv => self.write_csv(out),
            Format::Json => self.write_json(out),
            Format::JsonLines => self.write_json_lines(out),
            Format::Markdown => self.write_markdown(out),
            Format::Plain => self.write_plain(out),
        }
    }

    fn write_table(&self, width: Option<u16>, out: &mut dyn Write) -> io::Result<()> {
        if width.is_none() && self.rows().nth(LONG).is_some() {
            return self.write_long_table(out);
        }
        let mut table = self.table();
        table.load_style(UTF8_FULL_CONDENSED);
        if let Some(width) = width {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        writeln!(out, "{table}")
    }

    /// Writes the same table batch by batch, because its cells take many times the memory of the rows.
    fn write_long_table(&self, out: &mut dyn Write) -> io::Result<()> {
        let batches: Vec<&RecordBatch> = self.batches.iter().filter(|batch| batch.num_rows() > 0).collect();
        let piece = |batch: &RecordBatch| {
            let mut table = ResultSet { batches: std::slice::from_ref(batch), ..*self }.table();
            table.load_style(UTF8_FULL_CONDENSED);
            table
        };
        let mut widths = vec![0; self.schema.fields().len()];
        for batch in &batches {
            let own = piece(batch).column_max_content_widths();
            widths.iter_mut().zip(own).for_each(|(width, own): (&mut u16, u16)| *width = own.max(*width));
        }
        let fixed = |width: &u16| ColumnConstraint::Absolute(Width::Fixed(width.saturating_add(PADDING)));
        for (nth, batch) in batches.iter().enumerate() {
            let mut table = piece(batch);
            table.set_constraints(widths.iter().map(fixed));
            let lines: Vec<String> = table.lines().collect();
            // The top and the names stand above the first, the bottom below the last.
            let above = if nth == 0 { 0 } else { 3 };
            let below = usize::from(nth + 1 < batches.len());
            let inner = lines.len().saturating_sub(above + below);
            lines.iter().skip(above).take(inner).try_for_each(|line| writeln!(out, "{line}"))?;
        }
        Ok(())
    }

    fn write_markdown(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = self.table();
        table.load_style(ASCII_MARKDOWN);
        let skip = match self.part {
            Part::First => 0,
            Part::Continued => 2,
        };
        table.lines().skip(skip).try_for_each(|line| writeln!(out, "{line}"))
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.set_header(names(self.schema).map(escape));
        for batch in self.batches {
            for row in 0..batch.num_rows() {
                table.add_row(batch.columns().iter().map(|column| escape(&text(column, row))));
            }
        }
        for (index, field) in self.schema.fields().iter().enumerate() {
            if let (true, Some(column)) = (aligns_right(field.data_type()), table.column_mut(index)) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }

    fn write_csv(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.part == Part::First {
            let header: Vec<String> = names(self.schema).map(csv_field).collect();
            writeln!(out, "{}", header.join(","))?;
        }
        let mut line = String::new();
        self.rows().try_for_each(|(batch, row)| {
            line.clear();
            for (index, column) in batch.columns().iter().enumerate() {
                line.push_str(if index == 0 { "" } else { "," });
                if !column.is_null(row) {
                    line.push_str(&csv_field(&text(column, row)));
                }
            }
            writeln!(out, "{line}")
        })
    }

    fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut line = format!("{{\"statement\": {}, \"columns\": [", self.statement);
        for (index, name) in names(self.schema).enumerate() {
            line.push_str(if index == 0 { "" } else { ", " });
            let _ = json_string(&mut line, name);
        }
        line.push_str("], \"rows\": [");
        out.write_all(line.as_bytes())?;
        let mut separator = "";
        self.rows().try_for_each(|(batch, row)| {
            line.clear();
            line.push_str(separator);
            separator = ", ";
            line.push('[');
            for (index, column) in batch.columns().iter().enumerate() {
                line.push_str(if index == 0 { "" } else { ", " });
                write_value(&mut line, column, row, Style::Json);
            }
            line.push(']');
            out.write_all(line.as_bytes())
        })?;
        writeln!(out, "]}}")
    }

    fn write_json_lines(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut line = String::new();
        self.rows().try_for_each(|(batch, row)| {
            line.clear();
            line.push('{');
            for (index, (name, column)) in names(self.schema).zip(batch.columns()).enumerate() {
                line.push_str(if index == 0 { "" } else { ", " });
                let _ = json_string(&mut line, name);
                line.push_str(": ");
                write_value(&mut line, column, row, Style::Json);
            }
            writeln!(out, "{line}}}")
        })
    }

    fn write_plain(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut lines: Vec<Vec<String>> = Vec::new();
        if self.part == Part::First {
            lines.push(names(self.schema).map(escape).collect());
        }
        lines.extend(
            self.rows()
                .map(|(batch, row)| batch.columns().iter().map(|column| plain_cell(&text(column, row))).collect()),
        );
        let mut widths = vec![0; self.schema.fields().len()];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = cell.chars().count().max(*width);
            }
        }
        lines.iter().try_for_each(|line| {
            let padded: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(out, "{}", padded.join("  ").trim_end())
        })
    }

    fn rows(&self) -> impl Iterator<Item = (&RecordBatch, usize)> {
        self.batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)))
    }
}

fn names(schema: &Schema) -> impl Iterator<Item = &str> {
    schema.fields().iter().map(|field| field.name().as_str())
}

/// A value on one line: what a terminal would act on is shown, not done.
fn escape(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    text.chars().fold(String::new(), |mut escaped, character| {
        match character.is_control() {
            true => escaped.extend(character.escape_default()),
            false => escaped.push(character),
        }
        escaped
    })
}

/// A text without characters is shown as `''`, so that a line never looks shorter than it is.
fn plain_cell(text: &str) -> String {
    match text {
        "" => "''".to_owned(),
        text => escape(text),
    }
}

fn csv_field(text: &str) -> String {
    match text.is_empty() || text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn written(format: Format, part: Part) -> String {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let names: ArrayRef = Arc::new(StringArray::from(vec!["ada, \"b\"", ""]));
        let batch = RecordBatch::try_from_iter([("id", ids), ("name", names)]).unwrap();
        let mut out = Vec::new();
        let set = ResultSet { statement: 3, schema: &batch.schema(), batches: std::slice::from_ref(&batch), part };
        set.write(format, Some(80), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_long_table_is_the_same_written_batch_by_batch() {
        let batch = |from: i64, to: i64| {
            let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(from..to));
            let names: ArrayRef =
                Arc::new(StringArray::from_iter_values((from..to).map(|id| "é".repeat(id as usize % 9))));
            RecordBatch::try_from_iter([("id", ids), ("name", names)]).unwrap()
        };
        let batches = [batch(0, 3), batch(3, 3), batch(3, 3 + LONG as i64), batch(123_456, 123_457)];
        let set = ResultSet { statement: 1, schema: &batches[0].schema(), batches: &batches, part: Part::First };
        let mut out = Vec::new();
        set.write(Format::Table, None, &mut out).unwrap();
        let mut whole = set.table();
        whole.load_style(UTF8_FULL_CONDENSED);
        assert!(String::from_utf8(out).unwrap() == format!("{whole}\n"), "the table is another");
    }

    #[test]
    fn a_table_is_a_box() {
        let expected = "\
┌──────┬──────────┐
│   id ┆ name     │
╞══════╪══════════╡
│    1 ┆ ada, \"b\" │
│ NULL ┆          │
└──────┴──────────┘
";
        assert_eq!(written(Format::Table, Part::First), expected);
    }

    #[test]
    fn csv_tells_null_from_empty() {
        assert_eq!(written(Format::Csv, Part::First), "id,name\n1,\"ada, \"\"b\"\"\"\n,\"\"\n");
    }

    #[test]
    fn json_is_one_line_a_statement() {
        let expected = "{\"statement\": 3, \"columns\": [\"id\", \"name\"], \
                        \"rows\": [[1, \"ada, \\\"b\\\"\"], [null, \"\"]]}\n";
        assert_eq!(written(Format::Json, Part::First), expected);
    }

    #[test]
    fn jsonl_is_one_object_a_row() {
        let expected = "{\"id\": 1, \"name\": \"ada, \\\"b\\\"\"}\n{\"id\": null, \"name\": \"\"}\n";
        assert_eq!(written(Format::JsonLines, Part::First), expected);
    }

    #[test]
    fn a_continued_result_has_no_second_header() {
        assert_eq!(written(Format::Plain, Part::First), "id    name\n1     ada, \"b\"\nNULL  ''\n");
        assert_eq!(written(Format::Plain, Part::Continued), "1     ada, \"b\"\nNULL  ''\n");
        assert_eq!(written(Format::Markdown, Part::Continued), "|    1 | ada, \"b\" |\n| NULL |          |\n");
    }

    #[test]
    fn a_format_is_known_by_its_name() {
        assert_eq!("JSONL".parse::<Format>(), Ok(Format::JsonLines));
        assert!("xml".parse::<Format>().unwrap_err().contains("table, csv, json, jsonl, markdown, plain"));
    }
}
