//! What a `WITH (…)` list says about a file.

use std::fmt;

use crate::error::{Code, Place, Result, StatementError, did_you_mean};
use crate::io::connectors::nexmark_options::NexmarkOptions;
use crate::sql::SqlOption;

/// How many rows a batch has unless `batch_rows` says otherwise.
pub const BATCH_ROWS: usize = 8192;

/// How many rows are looked at to infer columns unless `infer_rows` says otherwise.
pub const INFER_ROWS: usize = 10_000;

/// How many bytes a row of text may have unless `max_row_bytes` says otherwise.
pub const MAX_ROW_BYTES: usize = 16 << 20;

/// The largest `max_row_bytes`, so that a place in a batch of text fits 31 bits.
const MAX_ROW_BYTES_LIMIT: usize = 1 << 30;

/// Where rows are read from or written to, and in what form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOptions {
    /// A file or the process's input and output.
    pub connector: Connector,
    /// The path, or a pattern for several; `-` for the process's input and output.
    pub path: String,
    /// What a file holds.
    pub format: Format,
    /// Whether its rows say what they do.
    pub form: Form,
    /// What a sink was declared to take, if it was.
    pub takes: Option<Takes>,
    /// How a file is compressed.
    pub compression: Compression,
    /// The details of CSV.
    pub csv: CsvOptions,
    /// What happens to a row that can't be read.
    pub on_error: OnError,
    /// After how many bad rows reading fails all the same; no limit without it.
    pub max_errors: Option<u64>,
    /// How many rows a batch has.
    pub batch_rows: usize,
    /// How many rows are looked at to infer the columns.
    pub infer_rows: usize,
    /// How long a line of text may be.
    pub max_row_bytes: usize,
    /// Where the path stands in the statement, if it does.
    pub place: Option<Place>,
}

/// What a stream reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceOptions {
    /// Files, or the process's input.
    File(Box<FileOptions>),
    /// The auction house of the benchmark Nexmark.
    Nexmark(NexmarkOptions),
}

impl SourceOptions {
    /// What the `WITH (…)` list of the stream `name` says.
    pub fn parse(name: &str, options: &[SqlOption]) -> Result<SourceOptions> {
        if let Some(connector) = find(options, "connector")
            && one_of(connector, &SOURCES)?.is_none()
        {
            return Ok(SourceOptions::Nexmark(NexmarkOptions::parse(name, options)?));
        }
        let file = FileOptions::parse(options)?;
        FileOptions::check_rows_read(options)?;
        Ok(SourceOptions::File(Box::new(file)))
    }
}

const CONNECTORS: [(&str, Connector); 2] = [("file", Connector::File), ("stdio", Connector::Stdio)];

/// What a stream can read, and which of the connectors for files it is.
const SOURCES: [(&str, Option<Connector>); 3] =
    [("file", Some(Connector::File)), ("stdio", Some(Connector::Stdio)), ("nexmark", None)];

/// What is read from or written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connector {
    /// One file, or several by a pattern.
    File,
    /// The process's input or output.
    Stdio,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text with delimiters.
    Csv,
    /// One JSON object a line.
    Json,
    /// Apache Parquet.
    Parquet,
    /// Apache Arrow IPC, as a file or as a stream.
    Arrow,
}

/// Whether rows are only rows, or changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// They are only added.
    Rows,
    /// A column of that name says what each does: `+I`, `-U`, `+U` or `-D`.
    Op(String),
    /// JSON objects of Debezium: the row as it was, the row as it is, and what was done.
    Debezium,
}

/// What a sink takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Rows that are only added.
    Appends,
    /// Changes.
    Changes,
    /// Rows that each take the place of the one of their key, and keys that are deleted.
    Upserts,
}

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all, or within the format.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// What happens to a row that can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// Reading fails with the row's place and the reason.
    Fail,
    /// The row is counted and left out.
    Skip,
    /// The row is left out and kept for `ERRORS(stream)`.
    DeadLetter,
}

/// The details of CSV. Delimiters and quotes are single ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvOptions {
    /// Whether the first row names the columns.
    pub header: Header,
    /// What stands between fields.
    pub delimiter: u8,
    /// What stands around a field that holds a delimiter; none if nothing does.
    pub quote: Option<u8>,
    /// What stands before a quote within quotes. A doubled quote always means a quote.
    pub escape: Option<u8>,
    /// What a line begins with that is not a row.
    pub comment: Option<u8>,
    /// The texts that mean NULL.
    pub nulls: Vec<String>,
    /// How timestamps are written, in the notation of `strftime`; ISO 8601 without it.
    pub timestamp_format: Option<String>,
}

/// Whether the first row names the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// It does: columns are matched by name.
    Present,
    /// It does not: columns are matched by position.
    Absent,
}

impl Default for CsvOptions {
    fn default() -> Self {
        CsvOptions {
            header: Header::Present,
            delimiter: b',',
            quote: Some(b'"'),
            escape: None,
            comment: None,
            nulls: vec![String::new()],
            timestamp_format: None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Csv => "CSV",
            Format::Json => "JSON Lines",
            Format::Parquet => "Parquet",
            Format::Arrow => "Arrow IPC",
        })
    }
}

const KEYS: [&str; 19] = [
    "connector",
    "path",
    "format",
    "compression",
    "header",
    "delimiter",
    "quote",
    "escape",
    "null",
    "comment",
    "timestamp_format",
    "on_error",
    "max_errors",
    "batch_rows",
    "infer_rows",
    "max_row_bytes",
    "changelog",
    "mode",
    SHORT_FOR_DELIMITER,
];

/// It is understood, and not spoken of.
const SHORT_FOR_DELIMITER: &str = "sep";

/// The format of JSON objects that are changes.
const DEBEZIUM: &str = "debezium-json";

const CSV_KEYS: [&str; 8] = ["header", "delimiter", "sep", "quote", "escape", "null", "comment", "timestamp_format"];

const FORMATS: [(&str, Format); 9] = [
    ("csv", Format::Csv),
    ("tsv", Format::Csv),
    ("json", Format::Json),
    ("jsonl", Format::Json),
    ("ndjson", Format::Json),
    (DEBEZIUM, Format::Json),
    ("parquet", Format::Parquet),
    ("arrow", Format::Arrow),
    ("ipc", Format::Arrow),
];

/// The extensions that name a format, besides the names of the formats.
const EXTENSIONS: [(&str, Format); 4] =
    [("txt", Format::Csv), ("pq", Format::Parquet), ("feather", Format::Arrow), ("arrows", Format::Arrow)];

const COMPRESSIONS: [(&str, Compression); 5] = [
    ("none", Compression::None),
    ("gzip", Compression::Gzip),
    ("gz", Compression::Gzip),
    ("zstd", Compression::Zstd),
    ("zst", Compression::Zstd),
];

impl FileOptions {
    /// What a path alone says, as in `FROM 'flights.csv.gz'`.
    pub fn for_path(path: &str) -> Result<FileOptions> {
        FileOptions::build(path, None, &[])
    }

    /// What a `WITH (…)` list says. Unknown options and impossible values are errors.
    pub fn parse(options: &[SqlOption]) -> Result<FileOptions> {
        check_keys(options, &KEYS)?;
        find(options, "connector").map(|connector| one_of(connector, &CONNECTORS)).transpose()?;
        match find(options, "path") {
            Some(path) => FileOptions::build(&path.value, Some(path.place.clone()), options),
            None if find(options, "connector").is_some_and(|connector| connector.value == "stdio") => {
                FileOptions::build("-", None, options)
            }
            None => Err(no_path(options)),
        }
    }

    fn build(path: &str, place: Option<Place>, options: &[SqlOption]) -> Result<FileOptions> {
        let (stem, by_extension) = split_compression(path);
        let connector = connector(path, find(options, "connector"))?;
        let compression = match find(options, "compression") {
            Some(option) => one_of(option, &COMPRESSIONS)?,
            None => by_extension,
        };
        let format = match find(options, "format") {
            Some(option) => one_of(option, &FORMATS)?,
            None => format_of(stem).ok_or_else(|| unknown_format(path, place.clone()))?,
        };
        let built = FileOptions {
            connector,
            path: path.to_string(),
            format,
            form: form(options)?,
            takes: find(options, "mode").map(|option| one_of(option, &MODES)).transpose()?,
            compression,
            csv: csv_options(stem, options)?,
            on_error: match find(options, "on_error") {
                Some(option) => one_of(
                    option,
                    &[("fail", OnError::Fail), ("skip", OnError::Skip), ("dead_letter", OnError::DeadLetter)],
                )?,
                None => OnError::Fail,
            },
            max_errors: find(options, "max_errors").map(|option| number(option, 0, u64::MAX)).transpose()?,
            batch_rows: size(options, "batch_rows", BATCH_ROWS, 1 << 20)?,
            infer_rows: size(options, "infer_rows", INFER_ROWS, usize::MAX)?,
            max_row_bytes: size(options, "max_row_bytes", MAX_ROW_BYTES, MAX_ROW_BYTES_LIMIT)?,
            place,
        };
        built.check(options)?;
        Ok(built)
    }

    /// Refuses what has no meaning for the format.
    fn check(&self, options: &[SqlOption]) -> Result<()> {
        let stray = options.iter().find(|option| CSV_KEYS.contains(&option.key.value.as_str()));
        if let Some(option) = stray
            && self.format != Format::Csv
        {
            let message = format!("the option \"{}\" is for CSV, and this is {}", option.key.value, self.format);
            return Err(StatementError::new(Code::InvalidArgument, message).at(option.key.place.clone()).into());
        }
        if self.format == Format::Parquet && self.compression != Compression::None {
            return Err(self
                .refuse("a Parquet file can't be compressed as a whole")
                .hint("Parquet compresses its columns by itself; leave the compression out.")
                .into());
        }
        Ok(())
    }

    /// Refuses what is only for tables or only for sinks where rows are read as they are.
    pub fn check_rows_read(options: &[SqlOption]) -> Result<()> {
        refuse_option(options, "changelog", "only a table is read from changes", TABLE_HINT)?;
        if let Some(option) = debezium(options) {
            let error = StatementError::new(Code::InvalidArgument, "only a table is read from changes");
            return Err(error.at(option.place.clone()).hint(TABLE_HINT).into());
        }
        FileOptions::check_read(options)
    }

    /// Refuses what is only for sinks.
    pub fn check_read(options: &[SqlOption]) -> Result<()> {
        refuse_option(options, "mode", "\"mode\" says what a sink takes", "Leave it out.")
    }

    /// Refuses what is only for what is read.
    pub fn check_written(options: &[SqlOption]) -> Result<()> {
        let hint = "Write mode = 'changelog': then the rows of a sink begin with op.";
        refuse_option(options, "changelog", "\"changelog\" names the column that is read", hint)
    }

    /// An error that stands where the path stands.
    pub(crate) fn refuse(&self, message: impl Into<String>) -> StatementError {
        let error = StatementError::new(Code::InvalidArgument, message);
        match &self.place {
            Some(place) => error.at(place.clone()),
            None => error,
        }
    }
}

const MODES: [(&str, Takes); 3] =
    [("append", Takes::Appends), ("changelog", Takes::Changes), ("upsert", Takes::Upserts)];

const TABLE_HINT: &str = "Write CREATE TABLE, and say which row a change is about with PRIMARY KEY (…).";

fn form(options: &[SqlOption]) -> Result<Form> {
    match (debezium(options), find(options, "changelog")) {
        (None, None) => Ok(Form::Rows),
        (None, Some(column)) => Ok(Form::Op(column.value.clone())),
        (Some(_), None) => Ok(Form::Debezium),
        (Some(_), Some(column)) => {
            let message = "a Debezium file says in its own way what each row does";
            let error = StatementError::new(Code::InvalidArgument, message).at(column.key.place.clone());
            Err(error.hint("Leave changelog out.").into())
        }
    }
}

fn debezium(options: &[SqlOption]) -> Option<&SqlOption> {
    find(options, "format").filter(|format| format.value.eq_ignore_ascii_case(DEBEZIUM))
}

fn refuse_option(options: &[SqlOption], key: &str, message: &str, hint: &str) -> Result<()> {
    let Some(option) = find(options, key) else { return Ok(()) };
    Err(StatementError::new(Code::InvalidArgument, message).at(option.key.place.clone()).hint(hint).into())
}

/// Refuses options that do not exist, and those that are given twice.
pub(super) fn check_keys(options: &[SqlOption], keys: &[&str]) -> Result<()> {
    for (index, option) in options.iter().enumerate() {
        let key = option.key.value.as_str();
        if !keys.contains(&key) {
            let unknown = StatementError::new(Code::UnknownName, format!("there is no option \"{key}\""));
            let shown: Vec<&str> = keys.iter().copied().filter(|key| *key != SHORT_FOR_DELIMITER).collect();
            let hint = did_you_mean(key, keys.iter().copied())
                .unwrap_or_else(|| format!("The options are {}.", shown.join(", ")));
            return Err(unknown.at(option.key.place.clone()).hint(hint).into());
        }
        if options[..index].iter().any(|earlier| earlier.key.value == key) {
            let twice = StatementError::new(Code::Duplicate, format!("the option \"{key}\" is given twice"));
            return Err(twice.at(option.key.place.clone()).into());
        }
    }
    Ok(())
}

pub(super) fn find<'a>(options: &'a [SqlOption], key: &str) -> Option<&'a SqlOption> {
    options.iter().find(|option| option.key.value == key)
}

pub(super) fn bad_value(option: &SqlOption, expected: &str) -> StatementError {
    let message = format!("\"{}\" is not a value for \"{}\"", option.value, option.key.value);
    StatementError::new(Code::InvalidArgument, message).at(option.place.clone()).hint(format!("It must be {expected}."))
}

pub(super) fn one_of<T: Copy>(option: &SqlOption, values: &[(&str, T)]) -> Result<T> {
    let wanted = option.value.to_ascii_lowercase();
    if let Some((_, value)) = values.iter().find(|(name, _)| *name == wanted) {
        return Ok(*value);
    }
    let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
    let error = bad_value(option, &format!("one of {}", names.join(", ")));
    Err(match did_you_mean(&wanted, names.iter().copied()) {
        Some(hint) => error.hint(hint).into(),
        None => error.into(),
    })
}

pub(super) fn number(option: &SqlOption, least: u64, most: u64) -> Result<u64> {
    let parsed = option.value.parse().ok().filter(|number| (least..=most).contains(number));
    let expected = if most == u64::MAX {
        format!("a number of at least {least}")
    } else {
        format!("a number from {least} to {most}")
    };
    parsed.ok_or_else(|| bad_value(option, &expected).into())
}

pub(super) fn size(options: &[SqlOption], key: &str, default: usize, most: usize) -> Result<usize> {
    let Some(option) = find(options, key) else { return Ok(default) };
    Ok(usize::try_from(number(option, 1, most as u64)?).unwrap_or(most))
}

/// One ASCII character; `\t` and `tab` mean a tab.
fn character(option: &SqlOption) -> Result<u8> {
    match option.value.as_bytes() {
        b"\\t" | b"tab" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0) => Ok(*byte),
        _ => Err(bad_value(option, "a single ASCII character").into()),
    }
}

fn optional_character(options: &[SqlOption], key: &str, default: Option<u8>) -> Result<Option<u8>> {
    match find(options, key) {
        Some(option) if option.value.is_empty() => Ok(None),
        Some(option) => character(option).map(Some),
        None => Ok(default),
    }
}

fn csv_options(stem: &str, options: &[SqlOption]) -> Result<CsvOptions> {
    let delimiter = match find(options, "delimiter").or(find(options, "sep")) {
        Some(option) => character(option)?,
        None if stem.to_ascii_lowercase().ends_with(".tsv") => b'\t',
        None if find(options, "format").is_some_and(|format| format.value.eq_ignore_ascii_case("tsv")) => b'\t',
        None => b',',
    };
    let header = match find(options, "header") {
        Some(option) => one_of(
            option,
            &[("true", Header::Present), ("false", Header::Absent), ("1", Header::Present), ("0", Header::Absent)],
        )?,
        None => Header::Present,
    };
    let csv = CsvOptions {
        header,
        delimiter,
        quote: optional_character(options, "quote", Some(b'"'))?,
        escape: optional_character(options, "escape", None)?,
        comment: optional_character(options, "comment", None)?,
        nulls: match find(options, "null") {
            Some(option) => option.value.split('|').map(String::from).collect(),
            None => vec![String::new()],
        },
        timestamp_format: find(options, "timestamp_format").map(timestamp_format).transpose()?,
    };
    let clash = [csv.quote, csv.comment].into_iter().flatten().any(|byte| byte == delimiter)
        || csv.escape == Some(delimiter)
        || csv.comment.is_some() && csv.comment == csv.quote;
    if let Some(option) = find(options, "delimiter").or(find(options, "quote")).or(find(options, "comment"))
        && clash
    {
        let message = "delimiter, quote and comment must be different characters";
        return Err(StatementError::new(Code::InvalidArgument, message).at(option.place.clone()).into());
    }
    Ok(csv)
}

fn timestamp_format(option: &SqlOption) -> Result<String> {
    let mut items = chrono::format::StrftimeItems::new(&option.value);
    if option.value.is_empty() || items.any(|item| item == chrono::format::Item::Error) {
        return Err(bad_value(option, "a format such as '%d/%m/%Y %H:%M:%S'").into());
    }
    Ok(option.value.clone())
}

fn connector(path: &str, option: Option<&SqlOption>) -> Result<Connector> {
    let Some(option) = option else { return Ok(if path == "-" { Connector::Stdio } else { Connector::File }) };
    let connector = one_of(option, &CONNECTORS)?;
    if connector == Connector::Stdio && path != "-" {
        let message = format!("the connector \"stdio\" has no path \"{path}\"");
        return Err(StatementError::new(Code::InvalidArgument, message)
            .at(option.place.clone())
            .hint("Leave the path out, or write connector = 'file'.")
            .into());
    }
    Ok(connector)
}

/// The path without the extension of its compression, and that compression.
fn split_compression(path: &str) -> (&str, Compression) {
    for (name, compression) in COMPRESSIONS {
        let start = path.len().wrapping_sub(name.len() + 1);
        if let (Some(stem), Some(end)) = (path.get(..start), path.get(start..))
            && end.strip_prefix('.').is_some_and(|extension| extension.eq_ignore_ascii_case(name))
            && compression != Compression::None
        {
            return (stem, compression);
        }
    }
    (path, Compression::None)
}

fn format_of(stem: &str) -> Option<Format> {
    let (_, extension) = stem.rsplit_once('.')?;
    let known = FORMATS.into_iter().chain(EXTENSIONS);
    known.filter(|(name, _)| extension.eq_ignore_ascii_case(name)).map(|(_, format)| format).next()
}

fn unknown_format(path: &str, place: Option<Place>) -> StatementError {
    let error = StatementError::new(Code::InvalidArgument, format!("the format of \"{path}\" is not known"))
        .hint("Add format = 'csv', 'json', 'parquet' or 'arrow'.");
    match place {
        Some(place) => error.at(place),
        None => error,
    }
}

fn no_path(options: &[SqlOption]) -> crate::Error {
    let error = StatementError::new(Code::InvalidArgument, "there is no path").hint("Add path = 'orders.csv'.");
    match options.first() {
        Some(first) => error.at(first.key.place.clone()).into(),
        None => error.into(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::sql::Name;

    pub(crate) fn option(key: &str, value: &str) -> SqlOption {
        let place = Place::new(format!("{key} = '{value}'").into(), 0..key.len());
        SqlOption { key: Name { value: key.into(), place: place.clone() }, value: value.into(), place }
    }

    fn parse(options: &[(&str, &str)]) -> Result<FileOptions> {
        FileOptions::parse(&options.iter().map(|(key, value)| option(key, value)).collect::<Vec<_>>())
    }

    #[test]
    fn a_path_says_its_format_and_compression() {
        let said = |path| FileOptions::for_path(path).map(|options| (options.format, options.compression)).unwrap();
        assert_eq!(said("a.csv"), (Format::Csv, Compression::None));
        assert_eq!(said("dir.d/a.CSV.GZ"), (Format::Csv, Compression::Gzip));
        assert_eq!(said("*.ndjson.zst"), (Format::Json, Compression::Zstd));
        assert_eq!(said("é.parquet"), (Format::Parquet, Compression::None));
        assert_eq!(FileOptions::for_path("a.tsv").unwrap().csv.delimiter, b'\t');
        assert_eq!(FileOptions::for_path("a.xls").unwrap_err().code(), Code::InvalidArgument);
        assert_eq!(FileOptions::for_path("é").unwrap_err().code(), Code::InvalidArgument);
    }

    #[test]
    fn options_are_read() {
        let read = parse(&[("path", "a"), ("format", "csv"), ("null", "NA|"), ("on_error", "skip"), ("quote", "")]);
        let read = read.unwrap();
        assert_eq!(
            (read.csv.nulls, read.on_error, read.csv.quote),
            (vec!["NA".into(), String::new()], OnError::Skip, None)
        );
        assert_eq!(parse(&[("connector", "stdio"), ("format", "csv")]).unwrap().path, "-");
    }

    #[test]
    fn what_can_not_be_meant_is_an_error_with_a_place_and_a_hint() {
        let error = parse(&[("path", "a.csv"), ("on_eror", "skip")]).unwrap_err();
        assert_eq!((error.code(), error.hint().unwrap().as_str()), (Code::UnknownName, "Did you mean \"on_error\"?"));
        assert!(error.place().is_some());
        for (key, value) in [
            ("format", "cvs"),
            ("header", "yes!"),
            ("delimiter", ";;"),
            ("delimiter", "é"),
            ("delimiter", "\""),
            ("batch_rows", "0"),
            ("max_errors", "-1"),
            ("timestamp_format", "%Q"),
            ("connector", "stdio"),
        ] {
            let error = parse(&[("path", "a.csv"), (key, value)]).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument, "{key} = {value}");
            assert!(error.place().is_some());
        }
        assert!(parse(&[]).is_err());
        assert!(parse(&[("path", "a.parquet"), ("header", "true")]).is_err());
        assert!(parse(&[("path", "a.parquet.gz")]).is_err());
        assert!(parse(&[("path", "a.csv"), ("path", "b.csv")]).is_err());
    }
}
