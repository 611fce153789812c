//! The operator that hosts the instances of a logic, one a key.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{AsArray, BinaryArray, RecordBatch, RecordBatchOptions, UInt32Array, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Field, Schema, SchemaRef, UInt64Type};

use super::{Feed, Keep, LogicRef, StatefulBatchLogic};
use crate::error::{Code, DataError, InternalError, Result};
use crate::expr::Expr;
use crate::operators::{Operator, Output, Port, StateSize};
use crate::plan::node::Logic;
use crate::state::{Changes, GONE, GroupIndex, Snapshot, table};
use crate::types::{Batch, Epoch, Timestamp};

/// Keys, when the key appeared, and what its instance has saved.
const INSTANCES: &str = "instances";

/// Builds the operator of a logic.
pub fn build(node: &Logic, snapshots: &[Snapshot]) -> Result<Box<dyn Operator>> {
    let types: Vec<_> = node.keys.iter().map(|key| key.data_type().clone()).collect();
    let fields: Vec<_> = node.keys.iter().map(|key| Field::new(name_of(key), key.data_type().clone(), true)).collect();
    let mut host = Host {
        name: node.name.clone(),
        keys: node.keys.clone(),
        key_schema: Arc::new(Schema::new(fields)),
        schema: node.schema.clone(),
        factory: node.factory.clone(),
        index: GroupIndex::new(&types)?,
        instances: vec![],
        instance_bytes: 0,
        wakes: BTreeSet::new(),
        changes: Changes::default(),
    };
    host.restore(snapshots)?;
    if !snapshots.is_empty() {
        host.changes = Changes::resumed(&host.index.groups_in_order());
    }
    Ok(Box::new(host))
}

/// What a key column is called: the column's own name where the key is one.
fn name_of(key: &Expr) -> String {
    let text = key.to_string();
    text.rsplit('.').next().unwrap_or(&text).to_string()
}

struct Host {
    name: Arc<str>,
    keys: Vec<Expr>,
    key_schema: SchemaRef,
    schema: SchemaRef,
    factory: LogicRef,
    index: GroupIndex,
    instances: Vec<Option<Instance>>,
    /// Bytes of all instances.
    instance_bytes: usize,
    /// When instances want to be woken, with when their key appeared, and their slot.
    wakes: BTreeSet<(Timestamp, u64, u32)>,
    /// Which instances have changed since the last snapshot.
    changes: Changes,
}

struct Instance {
    logic: Box<dyn StatefulBatchLogic>,
    wake: Option<(Timestamp, u64, u32)>,
    /// Its bytes, as it said after its last call.
    bytes: usize,
}

type Said = (Vec<RecordBatch>, Keep);

impl Operator for Host {
    fn on_batch(&mut self, _: Port, batch: Batch, out: &mut Output) -> Result<()> {
        let rows = batch.rows();
        let keys = self.keys.iter().map(|key| key.evaluate(rows)).collect::<Result<Vec<_>>>()?;
        let mut slots = vec![];
        self.index.intern(&keys, rows.num_rows(), &mut slots)?;
        self.grow();
        let now = out.now();
        match self.factory.feed() {
            Feed::Rows => {
                for (row, slot) in slots.iter().enumerate() {
                    self.feed(*slot, &rows.slice(row, 1), now, out)?;
                }
            }
            Feed::Batches => {
                for (slot, own) in by_key(&slots) {
                    let own = take_record_batch(rows, &UInt32Array::from(own))?;
                    self.feed(slot, &own, now, out)?;
                }
            }
        }
        self.forget(&slots)
    }

    fn on_notify(&mut self, now: Timestamp, out: &mut Output) -> Result<()> {
        // Whoever asks for a time that has passed is called again in the next activation, not in this one.
        let due: Vec<_> = self.wakes.iter().take_while(|(at, _, _)| *at <= now).copied().collect();
        let mut touched = vec![];
        for wake in due {
            // An earlier call may have withdrawn it.
            if self.wakes.remove(&wake) {
                self.call(wake.2, out, |logic| logic.on_notify(now))?;
                touched.push(wake.2);
            }
        }
        self.forget(&touched)
    }

    fn on_eof(&mut self, out: &mut Output) -> Result<()> {
        let live = self.index.groups_in_order();
        for slot in &live {
            self.call(*slot, out, |logic| logic.on_eof())?;
        }
        self.forget(&live)
    }

    fn notify_at(&self) -> Option<Timestamp> {
        self.wakes.first().map(|(at, _, _)| *at)
    }

    fn snapshot(&mut self, since: Epoch) -> Result<Option<Snapshot>> {
        self.save(since).map(Some)
    }

    fn state_size(&self) -> StateSize {
        let instances = self.instances.capacity() * size_of::<Option<Instance>>() + self.instance_bytes;
        let wakes = self.wakes.len() * size_of::<(Timestamp, u64, u32)>() * 3 / 2;
        StateSize { rows: self.index.len(), bytes: self.index.bytes() + self.changes.bytes() + instances + wakes }
    }
}

impl Host {
    fn grow(&mut self) {
        let slots = self.index.slots().max(self.instances.len());
        self.instances.resize_with(slots, || None);
    }

    fn feed(&mut self, slot: u32, rows: &RecordBatch, now: Timestamp, out: &mut Output) -> Result<()> {
        if self.instances[slot as usize].is_none() {
            // A key whose instance was discarded a moment ago is new, wherever the batches were cut.
            self.index.move_to_end(slot);
            self.instances[slot as usize] = Some(Instance { logic: self.instance(slot, None)?, wake: None, bytes: 0 });
        }
        self.call(slot, out, |logic| logic.on_batch(rows, now))
    }

    /// A new instance for the key of a slot.
    fn instance(&self, slot: u32, saved: Option<&[u8]>) -> Result<Box<dyn StatefulBatchLogic>> {
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let key = RecordBatch::try_new_with_options(self.key_schema.clone(), self.index.keys(&[slot])?, &options)?;
        guarded(&self.name, || self.factory.build(&key, saved))
    }

    /// Calls an instance, says what it answers, and asks when it wants to be woken.
    fn call(
        &mut self,
        slot: u32,
        out: &mut Output,
        event: impl FnOnce(&mut dyn StatefulBatchLogic) -> Result<Said>,
    ) -> Result<()> {
        let Some(instance) = &mut self.instances[slot as usize] else { return Ok(()) };
        let (batches, keep) = guarded(&self.name, || event(instance.logic.as_mut()))?;
        if let Some(wake) = instance.wake.take() {
            self.wakes.remove(&wake);
        }
        match keep {
            Keep::Discard => {
                self.instance_bytes -= instance.bytes;
                self.instances[slot as usize] = None;
            }
            Keep::Retain => {
                let bytes = guarded(&self.name, || Ok(bytes_of(instance.logic.as_ref())))?;
                let before = std::mem::replace(&mut instance.bytes, bytes);
                self.instance_bytes = self.instance_bytes.saturating_add(bytes).saturating_sub(before);
                let sequence = self.index.sequence(&[slot]).first().copied().unwrap_or_default();
                let asked = guarded(&self.name, || Ok(instance.logic.notify_at()))?;
                instance.wake = asked.map(|at| (at, sequence, slot));
                self.wakes.extend(instance.wake);
            }
        }
        self.changes.mark(slot);
        for batch in batches {
            if batch.schema().fields().len() != self.schema.fields().len() {
                let message = format!(
                    "\"{}\" gave {} columns, not the {} it declares",
                    self.name,
                    batch.num_columns(),
                    self.schema.fields().len()
                );
                return Err(DataError::new(Code::SchemaMismatch, message).into());
            }
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let columns = batch.columns().to_vec();
            out.push(Batch::append_only(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?));
        }
        Ok(())
    }

    /// Frees the slots of keys whose instance was discarded.
    fn forget(&mut self, slots: &[u32]) -> Result<()> {
        let mut gone: Vec<u32> = slots.to_vec();
        gone.sort_unstable();
        gone.dedup();
        gone.retain(|slot| self.instances[*slot as usize].is_none());
        self.changes.bury(&self.index, &gone)?;
        self.index.remove(&gone);
        Ok(())
    }

    fn save(&mut self, since: Epoch) -> Result<Snapshot> {
        let changed = self.changes.take(&self.index, since)?;
        let mut saved = Vec::with_capacity(changed.groups.len());
        for instance in changed.groups.iter().filter_map(|slot| self.instances[*slot as usize].as_ref()) {
            saved.push(guarded(&self.name, || instance.logic.snapshot())?);
        }
        let mut columns = self.index.keys(&changed.groups)?;
        columns.push(Arc::new(UInt64Array::from(self.index.sequence(&changed.groups))));
        columns.push(Arc::new(BinaryArray::from_iter_values(saved)));
        let mut tables = Vec::from_iter(changed.gone);
        tables.push(table(INSTANCES, columns, changed.groups.len())?);
        Ok(Snapshot { tables })
    }

    fn restore(&mut self, snapshots: &[Snapshot]) -> Result<()> {
        // Only the last state of a key is built: building may be dear, and a logic may count its births.
        let mut states: Vec<Option<Vec<u8>>> = vec![];
        for snapshot in snapshots {
            if let Some(gone) = snapshot.table(GONE) {
                let mut slots = vec![];
                self.index.intern(gone.columns(), gone.num_rows(), &mut slots)?;
                states.resize(self.index.slots().max(states.len()), None);
                slots.iter().for_each(|slot| states[*slot as usize] = None);
                self.index.remove(&slots);
            }
            if let Some(saved) = snapshot.table(INSTANCES) {
                self.restore_states(saved, &mut states)?;
            }
        }
        self.grow();
        for slot in self.index.groups_in_order() {
            let logic = self.instance(slot, states[slot as usize].as_deref())?;
            let sequence = self.index.sequence(&[slot]).first().copied().unwrap_or_default();
            let wake = guarded(&self.name, || Ok(logic.notify_at()))?.map(|at| (at, sequence, slot));
            self.wakes.extend(wake);
            let bytes = guarded(&self.name, || Ok(bytes_of(logic.as_ref())))?;
            self.instance_bytes += bytes;
            self.instances[slot as usize] = Some(Instance { logic, wake, bytes });
        }
        Ok(())
    }

    fn restore_states(&mut self, saved: &RecordBatch, states: &mut Vec<Option<Vec<u8>>>) -> Result<()> {
        let missing = || InternalError::new("a saved logic is not in its form");
        let (keys, rest) = saved.columns().split_at(self.keys.len().min(saved.num_columns()));
        let [sequence, bytes] = rest else { return Err(missing().into()) };
        let sequence = sequence.as_primitive_opt::<UInt64Type>().ok_or_else(missing)?;
        let bytes = bytes.as_binary_opt::<i32>().ok_or_else(missing)?;
        let mut slots = vec![];
        self.index.intern(keys, saved.num_rows(), &mut slots)?;
        self.index.set_sequence(&slots, sequence.values());
        states.resize(self.index.slots().max(states.len()), None);
        for (row, slot) in slots.into_iter().enumerate() {
            states[slot as usize] = Some(bytes.value(row).to_vec());
        }
        Ok(())
    }
}

/// The bytes of an instance, and of what it says it keeps besides.
fn bytes_of(logic: &dyn StatefulBatchLogic) -> usize {
    size_of_val(logic).saturating_add(logic.state_bytes())
}

/// The rows of each key, keys in the order in which they first come.
fn by_key(slots: &[u32]) -> Vec<(u32, Vec<u32>)> {
    let mut place: std::collections::HashMap<u32, usize> = std::collections::HashMap::new();
    let mut keys: Vec<(u32, Vec<u32>)> = vec![];
    for (row, slot) in slots.iter().enumerate() {
        let at = *place.entry(*slot).or_insert_with(|| {
            keys.push((*slot, vec![]));
            keys.len() - 1
        });
        keys[at].1.push(row as u32);
    }
    keys
}

/// Calls the host program's code; a panic in it becomes an error of this query.
fn guarded<T>(name: &str, call: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
        let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        let error = DataError::new(Code::Value, format!("the logic \"{name}\" panicked: {said}"));
        Err(error.hint("It is code of the host program; this query is stopped.").into())
    })
}
