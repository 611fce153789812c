//! Arrow IPC, as a file or as a stream.
//!
//! A file is a stream of messages between a mark and an index, so both are read the same way, from front to back; that
//! also works through a pipe. Arrow's decoder trusts the lengths it finds and allocates what they say, so the messages
//! are cut out and measured here before it sees them, and what still makes it panic becomes an error.

use std::io::{Read, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::{FileWriter as IpcFileWriter, StreamWriter};
use arrow::ipc::{Message, MessageHeader, RecordBatch as BatchHeader, root_as_message};

use super::{Decoded, FileReader, FileWriter, broken, guarded};
use crate::error::{Code, DataError, Error, OutsideError, Result};
use crate::io::input::{Input, read_failed};
use crate::io::options::{Compression, Connector, FileOptions};
use crate::io::output::{Ended, Output};
use crate::io::schema::{Mapping, Wanted, plain_schema};

/// What a file begins with; a stream does not.
const FILE_MARK: &[u8; 8] = b"ARROW1\0\0";
const MAX_PADDING_BYTES: usize = 64;
const CONTINUATION: [u8; 4] = [0xFF; 4];

/// The largest message, and the largest buffer that is unpacked from one.
const MAX_MESSAGE_BYTES: u64 = 1 << 31;
const MAX_HEADER_BYTES: u32 = 64 << 20;

/// Cuts an input into messages.
struct Messages {
    input: Box<dyn Read + Send>,
    origin: Arc<str>,
    compressed: bool,
    /// The bytes before the first message that were read to look for the mark.
    head: Option<[u8; 8]>,
}

/// One message: its eight bytes of prefix and its header, and what follows it.
struct Cut {
    header: Vec<u8>,
    body: Vec<u8>,
}

impl Messages {
    fn open(input: Input, options: &FileOptions) -> Result<Messages> {
        let origin = input.origin.clone();
        let compressed = options.compression != Compression::None;
        let mut messages = Messages { input: input.into_reader()?, origin, compressed, head: None };
        let mut head = [0; 8];
        if !messages.fill(&mut head)? {
            return Err(broken(&messages.origin, "it is empty").into());
        }
        if head == *FILE_MARK {
            // The mark is filled up with zeros, to the alignment that the writer chose.
            head = [0; 8];
            let mut padding = 0;
            while head == [0; 8] && padding <= MAX_PADDING_BYTES && messages.fill(&mut head)? {
                padding += head.len();
            }
        }
        messages.head = Some(head);
        Ok(messages)
    }

    /// Fills a buffer. False if the input ended before its first byte.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<bool> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.input.read(&mut buffer[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(broken(&self.origin, "it ends in the middle of a message").into()),
                Ok(read) => filled += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(read_failed(&self.origin, &error, self.compressed)),
            }
        }
        Ok(true)
    }

    /// Reads `length` bytes, and allocates only as they come: the length may be a lie.
    fn take(&mut self, length: u64, into: &mut Vec<u8>) -> Result<()> {
        let origin = self.origin.clone();
        let read = (&mut self.input).take(length).read_to_end(into);
        let read = read.map_err(|error| read_failed(&origin, &error, self.compressed))?;
        if (read as u64) < length {
            return Err(broken(&origin, "it ends in the middle of a message").into());
        }
        Ok(())
    }

    /// The next message; none at the end.
    fn next(&mut self) -> Result<Option<Cut>> {
        let mut prefix = [0; 8];
        match self.head.take() {
            Some(head) => prefix = head,
            None if !self.fill(&mut prefix)? => return Ok(None),
            None => {}
        }
        let [a, b, c, d, e, f, g, h] = prefix;
        if [a, b, c, d] != CONTINUATION {
            let hint = "It may be another format, or an Arrow file from before 2019.";
            return Err(broken(&self.origin, "it is not Arrow IPC").hint(hint).into());
        }
        let length = u32::from_le_bytes([e, f, g, h]);
        if length == 0 {
            return Ok(None);
        }
        if length > MAX_HEADER_BYTES {
            return Err(broken(&self.origin, "a message's header is too long").into());
        }
        let mut header = prefix.to_vec();
        self.take(u64::from(length), &mut header)?;
        let body_bytes = self.message(&header)?.bodyLength();
        let body_bytes = u64::try_from(body_bytes).ok().filter(|bytes| *bytes <= MAX_MESSAGE_BYTES);
        let Some(body_bytes) = body_bytes else { return Err(broken(&self.origin, "a message is too long").into()) };
        let mut body = Vec::new();
        self.take(body_bytes, &mut body)?;
        Ok(Some(Cut { header, body }))
    }

    fn message<'a>(&self, header: &'a [u8]) -> Result<Message<'a>> {
        let message = header.get(8..).unwrap_or_default();
        root_as_message(message).map_err(|error| broken(&self.origin, error).into())
    }

    /// Checks that the buffers of a batch lie in its body and don't unpack to more than is reasonable.
    fn check(&self, cut: &Cut) -> Result<()> {
        let message = self.message(&cut.header)?;
        let dictionary = message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
        let Some(batch) = message.header_as_record_batch().or(dictionary) else { return Ok(()) };
        if buffers_fit(&batch, &cut.body) {
            Ok(())
        } else {
            Err(broken(&self.origin, "a buffer is out of bounds").into())
        }
    }
}

fn buffers_fit(batch: &BatchHeader, body: &[u8]) -> bool {
    let Some(buffers) = batch.buffers() else { return true };
    let mut unpacked = 0_u64;
    buffers.iter().all(|buffer| {
        let range = usize::try_from(buffer.offset()).ok().zip(usize::try_from(buffer.length()).ok());
        let range = range.and_then(|(start, length)| Some(start..start.checked_add(length)?));
        let Some(bytes) = range.and_then(|range| body.get(range)) else { return false };
        match (batch.compression(), bytes.first_chunk::<8>()) {
            // A packed buffer begins with its length when unpacked; -1 says that it is not packed.
            (Some(_), Some(length)) => {
                unpacked = unpacked.saturating_add(u64::try_from(i64::from_le_bytes(*length)).unwrap_or(0));
                i64::from_le_bytes(*length) >= -1 && unpacked <= MAX_MESSAGE_BYTES
            }
            (Some(_), None) => bytes.is_empty(),
            (None, _) => true,
        }
    })
}

/// Reads the rows of one file or stream.
pub(super) struct ArrowReader {
    messages: Messages,
    decoder: Messenger,
    mapping: Mapping,
    batch_rows: usize,
    /// What is left of a batch that is larger than `batch_rows`.
    left: Option<RecordBatch>,
    /// How many rows of the next batches are passed over.
    to_skip: u64,
}

impl ArrowReader {
    pub fn open(input: Input, options: &FileOptions, wanted: &Wanted) -> Result<ArrowReader> {
        let mut messages = Messages::open(input, options)?;
        let mut decoder = Messenger::default();
        let schema = read_schema(&mut messages, &mut decoder)?;
        let mapping = Mapping::by_name(&schema, wanted, &messages.origin)?;
        Ok(ArrowReader { messages, decoder, mapping, batch_rows: options.batch_rows, left: None, to_skip: 0 })
    }

    /// The next batch as the file has it.
    fn read(&mut self) -> Result<Option<RecordBatch>> {
        while let Some(cut) = self.messages.next()? {
            self.messages.check(&cut)?;
            let message = self.messages.message(&cut.header)?;
            if let Some(batch) = message.header_as_record_batch() {
                let rows = u64::try_from(batch.length()).unwrap_or(0);
                if rows <= self.to_skip {
                    self.to_skip -= rows;
                    continue;
                }
            }
            if let Some(batch) = self.decoder.decode(cut, &self.messages.origin)? {
                let skipped =
                    usize::try_from(std::mem::take(&mut self.to_skip)).unwrap_or(usize::MAX).min(batch.num_rows());
                return Ok(Some(batch.slice(skipped, batch.num_rows() - skipped)));
            }
        }
        Ok(None)
    }
}

/// Arrow's decoder, given whole messages.
#[derive(Default)]
struct Messenger {
    decoder: StreamDecoder,
    /// Whether the decoder has the first byte of the next message already.
    is_ahead: bool,
}

impl Messenger {
    /// Decodes a message; one that holds rows gives a batch.
    fn decode(&mut self, cut: Cut, origin: &str) -> Result<Option<RecordBatch>> {
        let failed = |error: ArrowError| Error::from(broken(origin, error));
        let mut header = Buffer::from_vec(cut.header);
        if std::mem::take(&mut self.is_ahead) {
            header = header.slice(1);
        }
        let is_empty = cut.body.is_empty();
        // The decoder only looks at a message once it is given a byte after the header. Behind an empty body that is
        // the first byte of the next message, which is always the same.
        let mut body = Buffer::from_vec(if is_empty { CONTINUATION[..1].to_vec() } else { cut.body });
        guarded(origin, || {
            self.decoder.decode(&mut header).map_err(failed)?;
            let batch = self.decoder.decode(&mut body).map_err(failed)?;
            self.is_ahead = is_empty && body.is_empty();
            Ok(batch)
        })
    }
}

fn read_schema(messages: &mut Messages, decoder: &mut Messenger) -> Result<SchemaRef> {
    let origin = messages.origin.clone();
    let Some(cut) = messages.next()? else { return Err(broken(&origin, "it has no schema").into()) };
    if messages.message(&cut.header)?.header_type() != MessageHeader::Schema {
        return Err(broken(&origin, "it does not begin with a schema").into());
    }
    decoder.decode(cut, &origin)?;
    decoder.decoder.schema().ok_or_else(|| broken(&origin, "it has no schema").into())
}

impl FileReader for ArrowReader {
    fn next(&mut self) -> Result<Option<Decoded>> {
        let batch = match self.left.take() {
            Some(batch) => Some(batch),
            None => self.read()?,
        };
        let Some(batch) = batch else { return Ok(None) };
        let rows = batch.num_rows().min(self.batch_rows);
        if rows < batch.num_rows() {
            self.left = Some(batch.slice(rows, batch.num_rows() - rows));
        }
        let batch = batch.slice(0, rows);
        let columns: Vec<&ArrayRef> = self.mapping.places.iter().map(|place| batch.column(*place)).collect();
        let taken = rows as u64;
        Ok(Some(Decoded { rows: self.mapping.apply(&columns, rows)?, bad: Vec::new(), taken }))
    }

    fn skip(&mut self, rows: u64) -> Result<()> {
        self.to_skip = rows;
        Ok(())
    }
}

/// The columns of a file or stream.
pub(super) fn infer(input: Input, options: &FileOptions) -> Result<SchemaRef> {
    let mut messages = Messages::open(input, options)?;
    Ok(plain_schema(read_schema(&mut messages, &mut Messenger::default())?.as_ref()))
}

/// Writes rows as an Arrow file; to the process's output, as a stream.
pub(super) struct ArrowWriter {
    writer: Form,
    shown: String,
}

enum Form {
    File(Box<IpcFileWriter<Output>>),
    Stream(Box<StreamWriter<Output>>),
}

impl ArrowWriter {
    pub fn new(output: Output, options: &FileOptions, schema: &Schema) -> Result<ArrowWriter> {
        let shown = output.shown().to_string();
        let writer = match options.connector {
            Connector::File => IpcFileWriter::try_new(output, schema).map(|writer| Form::File(Box::new(writer))),
            Connector::Stdio => StreamWriter::try_new(output, schema).map(|writer| Form::Stream(Box::new(writer))),
        };
        let writer = writer.map_err(|error| not_written(&shown, &error))?;
        Ok(ArrowWriter { writer, shown })
    }
}

fn not_written(shown: &str, error: &ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, error) => OutsideError::io(shown, error).into(),
        error => DataError::new(Code::Value, error.to_string()).origin(shown).into(),
    }
}

impl FileWriter for ArrowWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let written = match &mut self.writer {
            Form::File(writer) => writer.write(batch),
            Form::Stream(writer) => writer.write(batch),
        };
        written.map_err(|error| not_written(&self.shown, &error))
    }

    fn flush(&mut self) -> Result<()> {
        let flushed = match &mut self.writer {
            Form::File(writer) => writer.get_mut().flush(),
            Form::Stream(writer) => writer.get_mut().flush(),
        };
        Ok(flushed.map_err(|error| OutsideError::io(&self.shown, &error))?)
    }

    fn mark(&mut self) -> Result<u64> {
        Ok(0)
    }

    fn end(self: Box<Self>) -> Result<Ended> {
        let output = match self.writer {
            Form::File(writer) => writer.into_inner(),
            Form::Stream(writer) => writer.into_inner(),
        };
        output.map_err(|error| not_written(&self.shown, &error))?.end()
    }
}
