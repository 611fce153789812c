//! Files as a whole: written, read, broken, resumed.

mod rewind;

use std::fs;
use std::io::Write;
use std::sync::Arc;

use arrow::array::*;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef, TimeUnit};
use arrow::util::pretty::pretty_format_batches;

use super::*;
use crate::error::{Code, Error, Place};
use crate::sql::{Name, SqlOption};

/// A directory with files, and access to it.
struct Room {
    directory: tempfile::TempDir,
    access: Access,
}

impl Room {
    fn new() -> Room {
        let directory = tempfile::tempdir().unwrap();
        let access = Access::directories([directory.path()]).unwrap().with_base(directory.path()).unwrap();
        Room { directory, access }
    }

    fn with(name: &str, content: impl AsRef<[u8]>) -> Room {
        let room = Room::new();
        room.put(name, content);
        room
    }

    /// Puts a file there, compressed as its name says.
    fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        let content = content.as_ref();
        let bytes = if name.ends_with(".gz") {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        } else if name.ends_with(".zst") {
            zstd::encode_all(content, 1).unwrap()
        } else {
            content.to_vec()
        };
        fs::write(self.directory.path().join(name), bytes).unwrap();
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap()
    }

    fn infer(&self, with: &[(&str, &str)]) -> Result<SchemaRef> {
        infer_schema(&options(with), &self.access)
    }

    fn source(
        &self,
        with: &[(&str, &str)],
        schema: Option<&SchemaRef>,
        projection: Option<&[usize]>,
    ) -> Box<dyn Source> {
        open_source(&options(with), schema.cloned(), Columns { read: projection, dictionary: &[] }, &self.access)
            .unwrap()
    }

    /// All the rows, or the first error.
    fn read(&self, with: &[(&str, &str)], schema: Option<&SchemaRef>) -> Result<RecordBatch> {
        drain(open_source(&options(with), schema.cloned(), Columns::default(), &self.access)?.as_mut())
    }

    fn write(&self, with: &[(&str, &str)], batch: &RecordBatch) {
        let mut sink = open_sink(&options(with), batch.schema(), &self.access).unwrap();
        sink.write(&batch.slice(0, 1)).unwrap();
        sink.flush().unwrap();
        sink.write(&batch.slice(1, batch.num_rows() - 1)).unwrap();
        sink.finish().unwrap();
    }
}

fn options(with: &[(&str, &str)]) -> FileOptions {
    let place = Place::new("".into(), 0..0);
    let option = |(key, value): &(&str, &str)| SqlOption {
        key: Name { value: key.to_string(), place: place.clone() },
        value: value.to_string(),
        place: place.clone(),
    };
    FileOptions::parse(&with.iter().map(option).collect::<Vec<_>>()).unwrap()
}

fn drain(source: &mut dyn Source) -> Result<RecordBatch> {
    let mut batches = Vec::new();
    while let Some(batch) = source.next_batch()? {
        assert_eq!(batch.schema(), source.schema());
        batches.push(batch);
    }
    Ok(concat_batches(&source.schema(), &batches)?)
}

/// Rows without a frame: values apart by a space, rows by a semicolon.
fn shown(batch: &RecordBatch) -> String {
    let table = pretty_format_batches(std::slice::from_ref(batch)).unwrap().to_string();
    let rows = table.lines().skip(3).filter(|line| line.starts_with('|'));
    rows.map(|row| row.split_whitespace().filter(|word| *word != "|").collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join("; ")
}

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect::<Vec<_>>()))
}

fn nanos() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, None)
}

fn a_b() -> SchemaRef {
    schema(&[("a", DataType::Int64), ("b", DataType::Utf8)])
}

fn data_error(error: &Error) -> (Option<u64>, Option<&str>) {
    match error {
        Error::Data(error) => (error.line, error.column.as_deref()),
        other => panic!("{other:?}"),
    }
}

/// A row of values, a row of other values and a row of NULLs, of every type that text can hold.
fn flat_batch() -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("boolean", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("tiny", Arc::new(Int8Array::from(vec![Some(-1), Some(2), None]))),
        ("small", Arc::new(Int16Array::from(vec![Some(-1), Some(2), None]))),
        ("int", Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(2), None]))),
        ("big", Arc::new(Int64Array::from(vec![Some(i64::MAX), Some(i64::MIN), None]))),
        ("unsigned", Arc::new(UInt64Array::from(vec![Some(u64::MAX), Some(0), None]))),
        ("real", Arc::new(Float32Array::from(vec![Some(1.5), Some(-0.1), None]))),
        ("double", Arc::new(Float64Array::from(vec![Some(1.0e-9), Some(0.1), None]))),
        ("text", Arc::new(StringArray::from(vec![Some("a,\"é\"\nb"), Some(""), None]))),
        ("date", Arc::new(Date32Array::from(vec![Some(0), Some(-20_000), None]))),
        ("at", Arc::new(TimestampNanosecondArray::from(vec![Some(1_500_000_001), Some(-1), None]))),
        ("ms", Arc::new(TimestampMillisecondArray::from(vec![Some(1_500), Some(-1), None]))),
        ("zoned", Arc::new(TimestampMicrosecondArray::from(vec![Some(1), Some(-1), None]).with_timezone("+00:00"))),
        ("time", Arc::new(Time64MicrosecondArray::from(vec![Some(1), Some(86_399_999_999), None]))),
        (
            "decimal",
            Arc::new(
                Decimal128Array::from(vec![Some(12_345), Some(-1), None]).with_precision_and_scale(10, 2).unwrap(),
            ),
        ),
    ];
    let named = columns.iter().map(|(name, column)| (name.to_string(), column.data_type().clone()));
    let fields: Vec<Field> = named.map(|(name, kind)| Field::new(name, kind, true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn nested_batch() -> RecordBatch {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None]), Some(vec![]), None]);
    let inner: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None, None]));
    let fields = vec![Field::new("s", DataType::Utf8, true)];
    let structure = StructArray::new(fields.into(), vec![inner], Some(vec![true, true, false].into()));
    let fields = [("list", list.data_type()), ("structure", structure.data_type())];
    let fields = fields.map(|(name, kind)| Field::new(name, kind.clone(), true));
    RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), vec![Arc::new(list), Arc::new(structure)]).unwrap()
}

#[test]
fn every_format_gives_back_what_was_written() {
    let flat = flat_batch();
    for path in ["f.csv", "f.tsv.gz", "f.jsonl", "f.json.zst", "f.parquet", "f.arrow", "f.ipc.gz"] {
        let room = Room::new();
        room.write(&[("path", path)], &flat);
        assert_eq!(room.read(&[("path", path)], Some(&flat.schema())).unwrap(), flat, "{path}");
        assert_eq!(fs::read_dir(room.directory.path()).unwrap().count(), 1);
    }
    for path in ["n.jsonl", "n.parquet", "n.arrow"] {
        let room = Room::new();
        room.write(&[("path", path)], &nested_batch());
        assert_eq!(room.read(&[("path", path)], Some(&nested_batch().schema())).unwrap(), nested_batch(), "{path}");
    }
    for path in ["f.parquet", "f.arrow"] {
        let room = Room::new();
        room.write(&[("path", path)], &flat);
        assert_eq!(room.read(&[("path", path)], None).unwrap(), flat, "{path}");
    }
}

#[test]
fn texts_may_stay_in_the_dictionary_of_a_file_that_has_one() {
    let text: ArrayRef = Arc::new(StringArray::from(vec![Some("u"), None, Some("v"), Some("u")]));
    let other: ArrayRef = Arc::new(StringArray::from(vec!["w", "w", "x", "w"]));
    let batch = RecordBatch::try_from_iter([("text", text.clone()), ("other", other.clone())]).unwrap();
    let room = Room::new();
    for path in ["a.parquet", "a.csv", "a.arrow"] {
        room.write(&[("path", path)], &batch);
        let columns = Columns { read: Some(&[0, 1]), dictionary: &[0] };
        let mut source = open_source(&options(&[("path", path)]), Some(batch.schema()), columns, &room.access).unwrap();
        let batches: Vec<RecordBatch> = std::iter::from_fn(|| source.next_batch().unwrap()).collect();
        let read = concat_batches(&batches[0].schema(), &batches).unwrap();
        assert_eq!(matches!(read.column(0).data_type(), DataType::Dictionary(..)), path == "a.parquet", "{path}");
        assert_eq!(&arrow::compute::cast(read.column(0), &DataType::Utf8).unwrap(), &text, "{path}");
        assert_eq!(read.column(1), &other, "{path}");
    }
}

#[test]
fn csv_says_no_to_what_it_can_not_hold() {
    let room = Room::with("a.csv", "list\n1\n");
    let nested = nested_batch().schema();
    let refused = [
        open_sink(&options(&[("path", "b.csv")]), nested.clone(), &room.access).err().unwrap(),
        open_source(&options(&[("path", "a.csv")]), Some(nested), Columns::default(), &room.access).err().unwrap(),
    ];
    assert!(refused.iter().all(|error| error.code() == Code::Unsupported && error.hint().is_some()));
    assert_eq!(fs::read_dir(room.directory.path()).unwrap().count(), 1);
}

#[test]
fn csv_columns_are_matched_by_name_with_a_header_and_by_position_without() {
    let room = Room::with("a.csv", "\u{FEFF}B,x,a\nu,?,1\n\"v,w\",?,2\n");
    assert_eq!(shown(&room.read(&[("path", "a.csv")], Some(&a_b())).unwrap()), "1 u; 2 v,w");
    room.put("b.csv", "1,u\n2,v");
    let headless = [("path", "b.csv"), ("header", "false")];
    assert_eq!(shown(&room.read(&headless, Some(&a_b())).unwrap()), "1 u; 2 v");
    assert_eq!(shown(&room.read(&headless, None).unwrap()), "1 u; 2 v");
    room.put("c.csv", "aa,b\n1,u\n");
    let error = room.read(&[("path", "c.csv")], Some(&a_b())).unwrap_err();
    assert_eq!((error.code(), error.hint().unwrap().as_str()), (Code::SchemaMismatch, "Did you mean \"aa\"?"));
    room.put("d.csv", "");
    assert_eq!(room.read(&[("path", "d.csv")], Some(&a_b())).unwrap().num_rows(), 0);
    assert_eq!(room.infer(&[("path", "d.csv")]).unwrap_err().code(), Code::BadRow);
}

#[test]
fn csv_types_are_inferred() {
    let room = Room::with(
        "a.csv",
        "i,f,b,d,t,s,n,q\n1,1,true,2013-01-01,2013-01-01T10:00:00Z,x,,\"5\"\n2,2.5,false,2013-01-02,2013-01-01 11:00:00,1,,\n",
    );
    let found = room.infer(&[("path", "a.csv")]).unwrap();
    let types: Vec<DataType> = found.fields().iter().map(|field| field.data_type().clone()).collect();
    let text = DataType::Utf8;
    let expected = [
        DataType::Int64,
        DataType::Float64,
        DataType::Boolean,
        DataType::Date32,
        nanos(),
        text.clone(),
        text,
        DataType::Int64,
    ];
    assert_eq!(types, expected);
    let rows = room.read(&[("path", "a.csv")], None).unwrap();
    assert_eq!(shown(&rows.project(&[4]).unwrap()), "2013-01-01T10:00:00; 2013-01-01T11:00:00");
}

#[test]
fn null_is_what_the_option_says() {
    let room = Room::with("a.csv", "a,b\n1,NA\nNA,\"NA\"\n,\n-,x\n");
    let read = |null: &str| room.read(&[("path", "a.csv"), ("null", null)], Some(&a_b()));
    assert_eq!(shown(&read("NA|-").unwrap()), "1; NA; ; x");
    let error = read("").unwrap_err();
    assert_eq!(error.hint().unwrap(), "If \"NA\" stands for a missing value, add null = 'NA'.");
    assert_eq!(room.infer(&[("path", "a.csv"), ("null", "NA|-")]).unwrap().field(0).data_type(), &DataType::Int64);
    assert_eq!(room.infer(&[("path", "a.csv")]).unwrap().field(0).data_type(), &DataType::Utf8);
}

#[test]
fn timestamps_are_read_by_their_format() {
    let room = Room::with("a.csv", "at\n31/12/2024 23:59:58\n01/02/2024 00:00:00\n");
    let at = schema(&[("at", nanos())]);
    let with = [("path", "a.csv"), ("timestamp_format", "%d/%m/%Y %H:%M:%S")];
    assert_eq!(shown(&room.read(&with, Some(&at)).unwrap()), "2024-12-31T23:59:58; 2024-02-01T00:00:00");
    assert_eq!(data_error(&room.read(&with[..1], Some(&at)).unwrap_err()), (Some(2), Some("at")));
}

/// Lines 3 (over two lines), 6, 7, 8, 9, 11 and 13 are bad.
const BROKEN_CSV: &[u8] =
    b"a,b\n1,u\nx,\"two\nlines\"\n2,v\n3\n4,w,w\nNA,w\n\"5\"5,w\n6,y\n7,\xFF\n8,z\n9,\"never\n10,last\n";
const BROKEN_CSV_LINES: [i64; 7] = [3, 6, 7, 8, 9, 11, 13];

const BROKEN_JSON: &str = "{\"a\":1,\"b\":\"u\"}\n{\"a\":\"x\",\"b\":\"v\"}\n\nnot json\n{\"a\":2}\n[1]\n{\"a\":3,\"b\":{}}\n{\"a\":4,\"b\":\n\"w\"}\n{\"a\":5} {\"a\":6}\n{\"b\":\"y\",\"a\":7,\"c\":[]}";
const BROKEN_JSON_LINES: [i64; 7] = [2, 4, 6, 7, 8, 9, 10];

fn check_policies(room: &Room, path: &str, rows: &str, lines: &[i64]) {
    for batch_rows in ["1", "2", "3", "5", "8192"] {
        let with = |policy| [("path", path), ("batch_rows", batch_rows), ("on_error", policy)];
        let mut source = room.source(&with("dead_letter"), Some(&a_b()), None);
        let good = drain(source.as_mut()).unwrap();
        assert_eq!(shown(&good), rows, "{path} by {batch_rows}");
        let letters = source.take_dead_letters().unwrap().unwrap();
        assert_eq!(letters.column(1).as_ref(), &Int64Array::from(lines.to_vec()) as &dyn Array, "{letters:?}");
        assert_eq!((source.counts().rows, source.counts().dead_lettered), (good.num_rows() as u64, lines.len() as u64));
        assert!(source.take_dead_letters().unwrap().is_none());
        assert_eq!(source.position(), Position { file: 1, row: 0 });
        assert_eq!(source.progress(), Some(1.0));

        let mut source = room.source(&with("skip"), Some(&a_b()), None);
        assert_eq!(shown(&drain(source.as_mut()).unwrap()), rows);
        assert_eq!(source.counts().skipped, lines.len() as u64);

        let mut source = room.source(&with("fail"), Some(&a_b()), None);
        let mut before = 0;
        let error = loop {
            match source.next_batch() {
                Ok(batch) => before += batch.unwrap().num_rows(),
                Err(error) => break error,
            }
        };
        assert_eq!((before, data_error(&error)), (1, (Some(lines[0] as u64), Some("a"))), "{error}");
        assert_eq!(source.next_batch().unwrap_err(), error);
    }
    let most = [("path", path), ("on_error", "skip"), ("max_errors", "2")];
    let error = room.read(&most, Some(&a_b())).unwrap_err();
    assert_eq!(data_error(&error).0, Some(lines[2] as u64), "{error}");
}

#[test]
fn bad_csv_rows_follow_on_error() {
    for path in ["a.csv", "a.csv.gz", "a.csv.zst"] {
        check_policies(&Room::with(path, BROKEN_CSV), path, "1 u; 2 v; 6 y; 8 z; 10 last", &BROKEN_CSV_LINES);
    }
}

#[test]
fn bad_json_lines_follow_on_error() {
    for path in ["a.jsonl", "a.ndjson.gz"] {
        check_policies(&Room::with(path, BROKEN_JSON), path, "1 u; 2; 7 y", &BROKEN_JSON_LINES);
    }
}

#[test]
fn a_dead_letter_says_what_was_wrong() {
    let reasons = |path: &str, content: &[u8]| {
        let room = Room::with(path, content);
        let mut source = room.source(&[("path", path), ("on_error", "dead_letter")], Some(&a_b()), None);
        drain(source.as_mut()).unwrap();
        let letters = source.take_dead_letters().unwrap().unwrap();
        let text = |column: usize, row: usize| {
            letters.column(column).as_string_opt::<i32>().map(|text| text.value(row).to_string()).unwrap_or_default()
        };
        (0..letters.num_rows()).map(|row| [2, 3, 4].map(|column| text(column, row)).join("|")).collect::<Vec<_>>()
    };
    assert_eq!(
        reasons("a.csv", BROKEN_CSV),
        [
            "a|\"x\" is not a value of type BIGINT|x,\"two\nlines\"",
            "|the row has 1 fields, not 2|3",
            "|the row has 3 fields, not 2|4,w,w",
            "a|\"NA\" is not a value of type BIGINT|NA,w",
            "|there is text after a closing quote|\"5\"5,w",
            "|the row is not UTF-8|7,\u{FFFD}",
            "|a quote is never closed|9,\"never",
        ]
    );
    let json = reasons("a.jsonl", BROKEN_JSON.as_bytes());
    assert_eq!(json[0], "a|\"x\" is not a value of type BIGINT|{\"a\":\"x\",\"b\":\"v\"}");
    assert!(json[1].starts_with('|') && json[1].ends_with("|not json"), "{}", json[1]);
    assert_eq!(json[3], "b|expected string got {}|{\"a\":3,\"b\":{}}");
    assert_eq!(json[4], "|the object is not closed|{\"a\":4,\"b\":");
    assert_eq!(json[6], "|there is text after the object|{\"a\":5} {\"a\":6}");
}

#[test]
fn null_in_a_not_null_column_is_a_bad_row() {
    let strict: SchemaRef =
        Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false), Field::new("b", DataType::Utf8, true)]));
    for (path, content) in [
        ("a.csv", "a,b\n1,u\n,v\n3,w\n"),
        ("a.jsonl", "\n{\"a\":1,\"b\":\"u\"}\n{\"b\":\"v\"}\n{\"a\":3,\"b\":\"w\"}\n"),
    ] {
        let room = Room::with(path, content);
        let error = room.read(&[("path", path)], Some(&strict)).unwrap_err();
        assert_eq!(data_error(&error), (Some(3), Some("a")), "{error}");
        let rows = room.read(&[("path", path), ("on_error", "skip")], Some(&strict)).unwrap();
        assert_eq!(shown(&rows), "1 u; 3 w");
    }
    let room = Room::new();
    room.write(&[("path", "a.parquet")], &flat_batch());
    let strict: SchemaRef = Arc::new(Schema::new(vec![Field::new("big", DataType::Int64, false)]));
    assert_eq!(data_error(&room.read(&[("path", "a.parquet")], Some(&strict)).unwrap_err()).1, Some("big"));
}

#[test]
fn a_row_that_is_too_long_is_bad_however_it_is_read() {
    let long = "y".repeat(600_000);
    let csv = format!("a,b\n1,u\n2,{long}\n3,\"{long}\n4,v\n5,w\n6,{long}");
    let json = format!(
        "\n{{\"a\":1,\"b\":\"u\"}}\n{{\"a\":2,\"b\":\"{long}\"}}\n{{\"a\":3,\"b\":\"{long}\n{{\"a\":4,\"b\":\"v\"}}\n{{\"a\":5,\"b\":\"w\"}}\n{{\"b\":\"{long}\"}}"
    );
    for (path, content) in [("a.csv", csv), ("a.jsonl", json)] {
        let room = Room::with(path, content);
        for batch_rows in ["1", "2", "8192"] {
            let with =
                [("path", path), ("max_row_bytes", "1000"), ("on_error", "dead_letter"), ("batch_rows", batch_rows)];
            let mut source = room.source(&with, Some(&a_b()), None);
            assert_eq!(shown(&drain(source.as_mut()).unwrap()), "1 u; 4 v; 5 w", "{path} {batch_rows}");
            let letters = source.take_dead_letters().unwrap().unwrap();
            assert_eq!(letters.column(1).as_ref(), &Int64Array::from(vec![3, 4, 7]) as &dyn Array);
            assert!(letters.column(4).as_string::<i32>().iter().all(|raw| raw.unwrap().len() <= 1024));
        }
    }
}

#[test]
fn json_types_are_inferred() {
    let room = Room::with(
        "a.jsonl",
        "{\"i\":1,\"m\":1,\"s\":{\"x\":null},\"l\":[1]}\n{\"i\":2.5,\"m\":\"t\",\"s\":{\"x\":true,\"y\":\"z\"},\"l\":[],\"n\":null}\n",
    );
    let found = room.infer(&[("path", "a.jsonl")]).unwrap();
    let inner = DataType::Struct(schema(&[("x", DataType::Boolean), ("y", DataType::Utf8)]).fields().clone());
    let list = DataType::new_list(DataType::Int64, true);
    let expected =
        schema(&[("i", DataType::Float64), ("m", DataType::Utf8), ("s", inner), ("l", list), ("n", DataType::Utf8)]);
    assert_eq!(found, expected);
    assert_eq!(shown(&room.read(&[("path", "a.jsonl")], None).unwrap().project(&[0, 1]).unwrap()), "1.0 1; 2.5 t");
    room.put("b.jsonl", "{\"a\":1}\n{\"a\":{\"b\":1}}\n");
    assert_eq!(room.infer(&[("path", "b.jsonl")]).unwrap_err().code(), Code::SchemaMismatch);
}

#[test]
fn several_files_are_one_source_in_the_order_of_their_names() {
    let room = Room::with("2.csv.gz", "b,a\nv,2\n");
    room.put("1.csv.gz", "a,b\n1,u\n");
    room.put("3.csv.gz", "a,b,c\n3,w,?\nx,w,?\n");
    let with = [("path", "*.csv.gz")];
    let mut source = room.source(&with, None, None);
    for row in ["1 u", "2 v", "3 w"] {
        assert_eq!(shown(&source.next_batch().unwrap().unwrap()), row);
    }
    let error = source.next_batch().unwrap_err();
    assert!(error.to_string().contains("3.csv.gz: line 3: column \"a\""), "{error}");
    room.put("4.csv.gz", "a\n1\n");
    let error = room.read(&[("path", "*.csv.gz"), ("on_error", "skip")], None).unwrap_err();
    assert_eq!(error.code(), Code::SchemaMismatch);
}

#[test]
fn a_seek_gives_exactly_the_rows_that_are_left() {
    let room = Room::new();
    let numbers = |from: i64| {
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + 10));
        RecordBatch::try_from_iter(vec![("n", values)]).unwrap()
    };
    for extension in ["csv", "jsonl.gz", "parquet", "arrow"] {
        for part in [0, 1, 2] {
            room.write(&[("path", &format!("{part}.{extension}"))], &numbers(part * 10));
        }
        let pattern = format!("*.{extension}");
        let with = [("path", pattern.as_str()), ("batch_rows", "4")];
        let mut source = room.source(&with, None, None);
        let mut read = 0;
        while let Some(batch) = source.next_batch().unwrap() {
            read += batch.num_rows() as i64;
            let mut resumed = room.source(&with, None, None);
            resumed.seek(&source.position()).unwrap();
            assert_eq!(resumed.position(), source.position());
            let rest = drain(resumed.as_mut()).unwrap();
            assert_eq!(
                rest.column(0).as_ref(),
                &Int64Array::from_iter_values(read..30) as &dyn Array,
                "{extension} {read}"
            );
        }
        source.seek(&Position::default()).unwrap();
        assert_eq!(drain(source.as_mut()).unwrap().num_rows(), 30);
    }
}

#[test]
fn a_seek_passes_over_bad_rows_without_reporting_them_again() {
    let room = Room::with("a.csv", BROKEN_CSV);
    room.put("a.jsonl", BROKEN_JSON);
    for path in ["a.csv", "a.jsonl"] {
        let with = [("path", path), ("batch_rows", "3"), ("on_error", "dead_letter")];
        let all = shown(&room.read(&with, Some(&a_b())).unwrap());
        let mut source = room.source(&with, Some(&a_b()), None);
        let (mut rows, mut letters) = (Vec::new(), 0);
        while let Some(batch) = source.next_batch().unwrap() {
            rows.push(batch);
            letters += source.take_dead_letters().unwrap().map_or(0, |letters| letters.num_rows());
            let position = source.position();
            source = room.source(&with, Some(&a_b()), None);
            source.seek(&position).unwrap();
        }
        assert_eq!((shown(&concat_batches(&a_b(), &rows).unwrap()), letters), (all, 7));
    }
}

#[test]
fn only_the_columns_of_a_projection_are_read() {
    let room = Room::new();
    let batch = RecordBatch::try_from_iter(vec![
        ("a", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef),
        ("b", Arc::new(StringArray::from(vec!["u", "v"])) as ArrayRef),
        ("c", Arc::new(Int64Array::from(vec![3, 4])) as ArrayRef),
    ]);
    let batch = batch.unwrap();
    for path in ["a.csv", "a.jsonl", "a.parquet", "a.arrow"] {
        room.write(&[("path", path)], &batch);
        let mut source = room.source(&[("path", path)], None, Some(&[2, 0]));
        assert_eq!(shown(&drain(source.as_mut()).unwrap()), "3 1; 4 2", "{path}");
        let mut source = room.source(&[("path", path)], None, Some(&[]));
        let mut rows = 0;
        while let Some(batch) = source.next_batch().unwrap() {
            rows += batch.num_rows();
        }
        assert_eq!(rows, 2, "{path}");
    }
}

#[test]
fn a_typed_file_is_cast_to_what_was_declared() {
    let room = Room::new();
    let views: ArrayRef = Arc::new(StringViewArray::from(vec![Some("1"), None]));
    let batch = RecordBatch::try_from_iter(vec![("a", views)]).unwrap();
    for path in ["a.parquet", "a.arrow"] {
        room.write(&[("path", path)], &batch);
        assert_eq!(room.infer(&[("path", path)]).unwrap().field(0).data_type(), &DataType::Utf8);
        let declared = schema(&[("a", DataType::Int64)]);
        assert_eq!(shown(&room.read(&[("path", path)], Some(&declared)).unwrap()), "1; ");
        let missing = schema(&[("b", DataType::Int64)]);
        assert_eq!(room.read(&[("path", path)], Some(&missing)).unwrap_err().code(), Code::SchemaMismatch);
    }
    room.write(&[("path", "b.parquet")], &nested_batch());
    let error = room.read(&[("path", "b.parquet")], Some(&schema(&[("structure", DataType::Int64)]))).unwrap_err();
    assert_eq!(error.code(), Code::SchemaMismatch);
}

#[test]
fn a_broken_file_is_an_error_and_never_a_panic() {
    let batch = flat_batch();
    for path in ["a.parquet", "a.arrow", "a.csv.gz", "a.jsonl.zst"] {
        let room = Room::new();
        room.write(&[("path", path)], &batch);
        let whole = fs::read(room.directory.path().join(path)).unwrap();
        let file = room.directory.path().join(path);
        for step in 0..200 {
            let mut bytes = whole.clone();
            let at = step * whole.len() / 200;
            if step % 2 == 0 {
                bytes.truncate(at)
            } else {
                bytes[at] ^= 0x55
            }
            fs::write(&file, bytes).unwrap();
            if let Err(error) = room.read(&[("path", path), ("on_error", "skip")], None) {
                assert!(matches!(error, Error::Data(_)), "{path} {step}: {error:?}");
            }
        }
    }
    let room = Room::with("a.arrow", "a,b\n1,2\n3,4\n");
    assert_eq!(room.infer(&[("path", "a.arrow")]).unwrap_err().code(), Code::BadRow);
}

#[test]
fn a_sink_that_is_not_finished_leaves_no_file() {
    let room = Room::with("a.csv", "old\n");
    for path in ["a.csv", "a.jsonl", "a.parquet", "a.arrow"] {
        let mut sink = open_sink(&options(&[("path", path)]), flat_batch().schema(), &room.access).unwrap();
        sink.write(&flat_batch()).unwrap();
        sink.flush().unwrap();
    }
    assert_eq!(fs::read_dir(room.directory.path()).unwrap().count(), 1);
    assert_eq!(room.text("a.csv"), "old\n");
}

#[test]
fn text_is_written_so_that_it_can_be_read() {
    let room = Room::new();
    let text: ArrayRef = Arc::new(StringArray::from(vec![Some("NA"), None, Some(""), Some("a;'b"), Some("#c")]));
    let number: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(2), None, Some(3)]));
    let batch = RecordBatch::try_from_iter_with_nullable(vec![("t", text, true), ("n", number, true)]).unwrap();
    let with = [("path", "a.csv"), ("null", "NA"), ("delimiter", ";"), ("quote", "'"), ("comment", "#")];
    room.write(&with, &batch);
    assert_eq!(room.text("a.csv"), "t;n\n'NA';1\nNA;NA\n'';2\n'a;''b';NA\n'#c';3\n");
    assert_eq!(room.read(&with, Some(&batch.schema())).unwrap(), batch);
    room.write(&[("path", "a.jsonl")], &batch.slice(0, 2));
    assert_eq!(room.text("a.jsonl"), "{\"t\":\"NA\",\"n\":1}\n{\"t\":null,\"n\":null}\n");
}

#[test]
fn what_is_not_granted_is_refused() {
    let room = Room::with("a.csv", "a\n1\n");
    let path = room.directory.path().join("a.csv").display().to_string();
    let with = options(&[("path", &path)]);
    assert_eq!(infer_schema(&with, &Access::none()).unwrap_err().code(), Code::AccessDenied);
    assert_eq!(
        open_source(&with, Some(a_b()), Columns::default(), &Access::none()).err().unwrap().code(),
        Code::AccessDenied
    );
    assert_eq!(open_sink(&with, a_b(), &Access::none()).err().unwrap().code(), Code::AccessDenied);
    let stdin = options(&[("connector", "stdio"), ("format", "csv")]);
    assert_eq!(
        open_source(&stdin, Some(a_b()), Columns::default(), &room.access).err().unwrap().code(),
        Code::AccessDenied
    );
}
