//! The rows that are pushed: tables decoded from Arrow files into the schemas that LaminarDB declares.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Int64Type, SchemaRef, TimeUnit};
use arrow::ipc::reader::FileReader;

use crate::request::Result;

/// The numbers of a marker row: no key, and a multiple of 123.
const MARKER: i64 = -123;
/// The time of a marker row, the year 2100, in microseconds: any window has ended by then.
const MARKER_TIME: i64 = 4_102_444_800_000_000;
/// The category of a marker row, which passes the condition of `h_q20`.
const MARKER_CATEGORY: i64 = 10;
/// The column of joined tables that has the same time in all rows.
const MOMENT: &str = "moment";

/// All tables of a workload in their order of arrival.
pub struct Feed {
    /// The place of a batch's source among the sources, and the batch.
    pub batches: Vec<(usize, RecordBatch)>,
    /// A row for each source that comes after all others.
    pub markers: Vec<RecordBatch>,
    /// How many rows there are, without the markers.
    pub rows: usize,
}

impl Feed {
    /// Reads the tables with these names and schemas, and makes so many neighbouring batches of a table one.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, or lacks a column.
    pub fn read(data: &Path, tables: &[(&str, SchemaRef)], together: usize) -> Result<Feed> {
        let readers = tables.iter().map(|(name, schema)| Reader::open(data, name, schema));
        let mut readers = readers.collect::<Result<Vec<_>>>()?;
        let markers = tables.iter().map(|(_, schema)| marker(schema)).collect::<Result<_>>()?;
        let mut feed = Feed { batches: vec![], markers, rows: 0 };
        let mut neighbours = vec![];
        let mut source = 0;
        while let Some(place) = earliest(&readers) {
            if place != source || neighbours.len() == together {
                feed.push(source, &mut neighbours)?;
            }
            source = place;
            neighbours.extend(readers[place].take()?);
        }
        feed.push(source, &mut neighbours)?;
        Ok(feed)
    }

    /// Adds neighbouring batches of a source as one.
    fn push(&mut self, source: usize, neighbours: &mut Vec<RecordBatch>) -> Result<()> {
        if let Some(batch) = whole(neighbours)? {
            self.rows += batch.num_rows();
            self.batches.push((source, batch));
        }
        neighbours.clear();
        Ok(())
    }
}

/// A table's file, of which one batch is read ahead.
struct Reader {
    batches: FileReader<BufReader<File>>,
    schema: SchemaRef,
    ahead: Option<(i64, RecordBatch)>,
}

impl Reader {
    fn open(data: &Path, name: &str, schema: &SchemaRef) -> Result<Reader> {
        let path = data.join(format!("{name}.arrow"));
        let file = File::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let batches = FileReader::try_new(BufReader::with_capacity(1 << 20, file), None)?;
        let mut reader = Reader { batches, schema: schema.clone(), ahead: None };
        reader.take()?;
        Ok(reader)
    }

    /// The batch that was read ahead, in the schema of its source; the next is read instead.
    fn take(&mut self) -> Result<Option<RecordBatch>> {
        let next = self.batches.next().transpose()?;
        let next =
            next.map(|batch| -> Result<_> { Ok((first_time(&batch)?, conform(&batch, &self.schema)?)) }).transpose();
        Ok(std::mem::replace(&mut self.ahead, next?).map(|(_, batch)| batch))
    }
}

/// Which file has the batch that comes next.
fn earliest(readers: &[Reader]) -> Option<usize> {
    let times = readers.iter().enumerate().filter_map(|(place, reader)| Some((reader.ahead.as_ref()?.0, place)));
    times.min().map(|(_, place)| place)
}

/// When the first row of a batch was.
fn first_time(batch: &RecordBatch) -> Result<i64> {
    let time = batch.column_by_name("date_time").or_else(|| batch.column_by_name("time_hour"));
    let time = cast(time.ok_or("a table has no time")?, &DataType::Int64)?;
    Ok(time.as_primitive::<Int64Type>().iter().flatten().next().unwrap_or(i64::MIN))
}

/// A batch with the columns of a source.
fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = schema.fields().iter().map(|field| column(batch, field)).collect::<Result<_>>()?;
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

fn column(batch: &RecordBatch, field: &Arc<Field>) -> Result<ArrayRef> {
    if field.name() == MOMENT {
        return Ok(Arc::new(TimestampMicrosecondArray::from(vec![0; batch.num_rows()])));
    }
    let missing = || format!("a table has no column \"{}\"", field.name());
    let column = batch.column_by_name(field.name()).ok_or_else(missing)?;
    match (column.data_type(), field.data_type()) {
        // Numbers that are a time are milliseconds.
        (DataType::Int64, time @ DataType::Timestamp(_, _)) => {
            Ok(cast(&cast(column, &DataType::Timestamp(TimeUnit::Millisecond, None))?, time)?)
        }
        (_, wanted) => Ok(cast(column, wanted)?),
    }
}

/// Neighbouring batches in one that owns what it has and no more: the columns of a batch from a file are all views of
/// one buffer, which LaminarDB would count once for each.
fn whole(neighbours: &[RecordBatch]) -> Result<Option<RecordBatch>> {
    let Some(first) = neighbours.first() else { return Ok(None) };
    if neighbours.len() > 1 {
        return Ok(Some(concat_batches(first.schema_ref(), neighbours)?));
    }
    // Of one part alone nothing would be copied.
    let half = first.num_rows() / 2;
    let parts = [first.slice(0, half), first.slice(half, first.num_rows() - half)];
    Ok(Some(concat_batches(first.schema_ref(), &parts)?))
}

/// A row that passes every condition, joins with that of another table, and has a key that no other row has.
fn marker(schema: &SchemaRef) -> Result<RecordBatch> {
    let value = |field: &Arc<Field>| -> Result<ArrayRef> {
        Ok(match (field.name().as_str(), field.data_type()) {
            (MOMENT, _) => Arc::new(TimestampMicrosecondArray::from(vec![0])),
            ("category", _) => Arc::new(Int64Array::from(vec![MARKER_CATEGORY])),
            (_, DataType::Int64) => Arc::new(Int64Array::from(vec![MARKER])),
            (_, DataType::Float64) => Arc::new(Float64Array::from(vec![0.0])),
            (_, DataType::Utf8) => Arc::new(StringArray::from(vec![""])),
            (_, DataType::Timestamp(TimeUnit::Microsecond, None)) => {
                Arc::new(TimestampMicrosecondArray::from(vec![MARKER_TIME]))
            }
            (_, other) => return Err(format!("no marker for a column of {other}").into()),
        })
    };
    let columns = schema.fields().iter().map(value).collect::<Result<_>>()?;
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}
