//! Rows of text, a stretch of the file for each, and how a batch of them is decoded.
//!
//! A whole batch is decoded at once. Only if that fails are its rows decoded one by one, to find the bad ones.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;

use super::{Reader, Rows};
use crate::error::Result;
use crate::io::input::{Fill, Lines, Text};
use crate::io::options::FileOptions;
use crate::io::rejects::BadRow;
use crate::io::schema::batch_of;

/// How much of a bad row is kept.
const SHOWN_BYTES: usize = 1024;

/// What a text format knows of its rows.
pub(super) trait Rule: Send {
    /// Where the row at the front of `bytes` ends, line feed included; none if it goes on behind them.
    fn end_of_row(&self, bytes: &[u8]) -> Option<usize>;

    /// Whether a stretch is no row at all: a blank line or a comment.
    fn is_blank(&self, row: &[u8]) -> bool;

    /// Decodes stretches that should hold `rows` rows; an error if any of them is bad.
    fn decode(&self, bytes: &[u8], rows: usize) -> Result<RecordBatch, String>;

    /// Says what is wrong with a single row: the column, the reason, and what could be done.
    fn blame(&self, row: &[u8], reason: String) -> (Option<String>, String, Option<String>);

    /// The columns of what is decoded.
    fn schema(&self) -> &SchemaRef;
}

/// A row of the file: from, to, within what was read.
type Stretch = (usize, usize);

pub(super) struct TextReader<R> {
    text: Text,
    rule: R,
    batch_rows: usize,
}

impl<R: Rule> TextReader<R> {
    pub fn new(text: Text, rule: R, options: &FileOptions) -> TextReader<R> {
        TextReader { text, rule, batch_rows: options.batch_rows.max(1) }
    }

    /// The next rows of the file, at most `most`, and whether the last of them is longer than a row may be.
    fn rows(&mut self, most: usize) -> Result<Vec<Stretch>> {
        let mut rows = Vec::new();
        let mut at = 0;
        while rows.len() < most {
            let rest = &self.text.rest()[at..];
            match self.rule.end_of_row(rest) {
                Some(end) => {
                    if !self.rule.is_blank(&rest[..end]) {
                        rows.push((at, at + end));
                    }
                    at += end;
                }
                None if rest.len() > self.text.max_row_bytes => break,
                None => {
                    if self.text.is_live() && !rows.is_empty() {
                        break;
                    }
                    if self.text.fill()? == Fill::End {
                        let rest = &self.text.rest()[at..];
                        if !self.rule.is_blank(rest) {
                            rows.push((at, at + rest.len()));
                        }
                        break;
                    }
                }
            }
        }
        Ok(rows)
    }

    fn decode(&self, rows: &[Stretch]) -> Result<(RecordBatch, Vec<BadRow>)> {
        let bytes = self.text.rest();
        let (Some((from, _)), Some((_, to))) = (rows.first(), rows.last()) else {
            return Ok((RecordBatch::new_empty(self.rule.schema().clone()), vec![]));
        };
        if std::str::from_utf8(&bytes[*from..*to]).is_ok()
            && let Ok(batch) = self.rule.decode(&bytes[*from..*to], rows.len())
        {
            return Ok((batch, vec![]));
        }
        self.decode_one_by_one(rows)
    }

    fn decode_one_by_one(&self, rows: &[Stretch]) -> Result<(RecordBatch, Vec<BadRow>)> {
        let bytes = self.text.rest();
        let mut lines = Lines::new(bytes, self.text.line());
        let (mut good, mut bad) = (vec![], vec![]);
        for (from, to) in rows {
            let row = &bytes[*from..*to];
            let decoded = match std::str::from_utf8(row) {
                Ok(_) => self.rule.decode(row, 1),
                Err(_) => Err("the row is not UTF-8".to_string()),
            };
            match decoded {
                Ok(batch) => good.push(batch),
                Err(reason) => {
                    let (column, reason, hint) = self.rule.blame(row, reason);
                    let shown = String::from_utf8_lossy(&row[..row.len().min(SHOWN_BYTES)]);
                    let raw = shown.trim_end_matches(['\r', '\n']).to_string();
                    let line = lines.line(*from);
                    bad.push(BadRow { before: good.len(), line, column, reason, hint, raw });
                }
            }
        }
        let rows = good.iter().map(RecordBatch::num_rows).sum();
        match self.rule.schema().fields().is_empty() {
            true => Ok((batch_of(self.rule.schema(), vec![], rows)?, bad)),
            false => Ok((concat_batches(self.rule.schema(), &good)?, bad)),
        }
    }

    /// A row that is longer than a row may be is bad, whatever it holds.
    fn too_long(&mut self) -> Result<Rows> {
        let line = self.text.line();
        let reason = format!("the row is longer than {} bytes", self.text.max_row_bytes);
        let raw = self.text.discard_line()?;
        let hint = Some("Raise max_row_bytes, or look for a quote that is not closed.".to_string());
        let bad = vec![BadRow { before: 0, line, column: None, reason, hint, raw }];
        Ok(Rows { batch: RecordBatch::new_empty(self.rule.schema().clone()), bad, read: 1 })
    }
}

impl<R: Rule> Reader for TextReader<R> {
    fn next(&mut self) -> Result<Option<Rows>> {
        let rows = self.rows(self.batch_rows)?;
        let Some((_, end)) = rows.last().copied() else {
            if self.text.has_ended() {
                return Ok(None);
            }
            return self.too_long().map(Some);
        };
        let (batch, bad) = self.decode(&rows)?;
        self.text.consume(end);
        Ok(Some(Rows { batch, bad, read: rows.len() as u64 }))
    }

    fn skip(&mut self, rows: u64) -> Result<()> {
        let mut left = rows;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(self.batch_rows);
            let skipped = self.rows(most)?;
            match skipped.last().copied() {
                Some((_, end)) => {
                    self.text.consume(end);
                    left -= skipped.len() as u64;
                }
                None if self.text.has_ended() => return Ok(()),
                None => {
                    self.text.discard_line()?;
                    left -= 1;
                }
            }
        }
        Ok(())
    }
}
