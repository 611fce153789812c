//! How the columns of a file become the columns of a relation.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};

use crate::error::{Code, DataError, InternalError, Result, did_you_mean};
use crate::types::type_name;

/// Which of the declared columns are read, by their places.
#[derive(Debug, Clone, Copy, Default)]
pub struct Columns<'a> {
    /// Those that are read, all for `None`.
    pub read: Option<&'a [usize]>,
    /// Those of them that may come in the dictionary in which a file has them.
    pub dictionary: &'a [usize],
}

/// The columns that were declared, and those of them that are read.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// All that were declared.
    pub declared: SchemaRef,
    /// The places in `declared` of those that are read.
    pub columns: Vec<usize>,
    /// Those that are read.
    pub schema: SchemaRef,
    /// The places in `declared` of those that may come in a dictionary.
    pub dictionary: Vec<usize>,
}

impl Wanted {
    pub fn new(declared: SchemaRef, columns: Columns<'_>) -> Result<Wanted> {
        let dictionary = columns.dictionary.to_vec();
        let columns = match columns.read {
            Some(columns) => columns.to_vec(),
            None => (0..declared.fields().len()).collect(),
        };
        let schema = declared.project(&columns).map_err(|error| InternalError::new(error.to_string()))?;
        Ok(Wanted { declared, columns, schema: Arc::new(schema), dictionary })
    }
}

/// A batch of columns that may be none.
pub(crate) fn batch_of(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

/// For each of `wanted`, the file's column of that name. Case counts only where it tells two columns apart.
pub(crate) fn places_by_name(names: &[&str], wanted: &Schema, origin: &str) -> Result<Vec<usize>> {
    let mut places: Vec<usize> = Vec::with_capacity(wanted.fields().len());
    for (nth, field) in wanted.fields().iter().enumerate() {
        // Of several columns of one name each is the next one of that name in the file.
        let before = wanted.fields().iter().take(nth).filter(|earlier| earlier.name() == field.name()).count();
        places.push(place_by_name(names, field.name(), before, origin)?);
    }
    Ok(places)
}

fn place_by_name(names: &[&str], wanted: &str, before: usize, origin: &str) -> Result<usize> {
    let named = |place: &usize| names[*place] == wanted;
    let exact = (0..names.len()).filter(named).nth(before).or_else(|| (0..names.len()).find(named));
    let place = exact.or_else(|| names.iter().position(|name| name.eq_ignore_ascii_case(wanted)));
    place.ok_or_else(|| {
        let hint = did_you_mean(wanted, names.iter().copied());
        let hint = hint.unwrap_or_else(|| format!("Its columns are {}.", shown_names(names)));
        let message = format!("there is no column \"{wanted}\"");
        DataError::new(Code::SchemaMismatch, message).origin(origin).hint(hint).into()
    })
}

fn shown_names(names: &[&str]) -> String {
    const SHOWN: usize = 20;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("\"{name}\"")).collect();
    format!("{}{}", shown.join(", "), if names.len() > SHOWN { ", …" } else { "" })
}

/// How the typed columns of a file become those that are wanted.
#[derive(Debug)]
pub(crate) struct Mapping {
    /// The columns of the batches that are made.
    pub schema: SchemaRef,
    /// For each wanted column its place in the file.
    pub places: Vec<usize>,
    origin: Arc<str>,
}

impl Mapping {
    /// Matches by name, and checks that each type can become what was declared.
    pub fn by_name(file: &Schema, wanted: &Wanted, origin: &Arc<str>) -> Result<Mapping> {
        let names: Vec<&str> = file.fields().iter().map(|field| field.name().as_str()).collect();
        let declared = places_by_name(&names, &wanted.declared, origin)?;
        for (field, place) in wanted.declared.fields().iter().zip(&declared) {
            let found = file.field(*place).data_type();
            if found != field.data_type() && !can_cast_types(found, field.data_type()) {
                let (found, declared) = (type_name(found), type_name(field.data_type()));
                let message = format!("the file holds {found}, which can't become {declared}");
                let error = DataError::new(Code::SchemaMismatch, message).origin(&**origin).column(field.name());
                return Err(error.into());
            }
        }
        let places = wanted.columns.iter().map(|column| declared[*column]).collect();
        Ok(Mapping { schema: wanted.schema.clone(), places, origin: origin.clone() })
    }

    /// Makes a batch of wanted columns. `columns` has one entry a place.
    pub fn apply(&self, columns: &[&ArrayRef], rows: usize) -> Result<RecordBatch> {
        let fields = self.schema.fields().iter();
        let converted: Result<Vec<ArrayRef>> =
            fields.zip(columns).map(|(field, column)| self.convert(field, column)).collect();
        batch_of(&self.schema, converted?, rows)
    }

    fn convert(&self, field: &FieldRef, column: &ArrayRef) -> Result<ArrayRef> {
        let wrong = |code, message: String| DataError::new(code, message).origin(&*self.origin).column(field.name());
        if !field.is_nullable() && column.logical_null_count() > 0 {
            return Err(wrong(Code::BadRow, "NULL in a NOT NULL column".to_string()).into());
        }
        if column.data_type() == field.data_type() {
            return Ok(column.clone());
        }
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        Ok(cast_with_options(column, field.data_type(), &strict)
            .map_err(|error| wrong(Code::Value, error.to_string()))?)
    }
}

/// The columns of a typed file as the engine has them: text is plain text, dictionaries are unfolded, all may be NULL.
pub(crate) fn plain_schema(file: &Schema) -> SchemaRef {
    let fields: Fields = file.fields().iter().map(|field| plain_field(field, true)).collect();
    Arc::new(Schema::new(fields))
}

fn plain_field(field: &Field, nullable: bool) -> Field {
    Field::new(field.name(), plain_type(field.data_type()), nullable || field.is_nullable())
}

pub(crate) fn plain_type(data_type: &DataType) -> DataType {
    let inner = |field: &FieldRef| Arc::new(plain_field(field, false));
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Dictionary(_, values) => plain_type(values),
        DataType::RunEndEncoded(_, values) => plain_type(values.data_type()),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field) => DataType::List(inner(field)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        other => other.clone(),
    }
}
