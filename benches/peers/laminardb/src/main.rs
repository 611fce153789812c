//! LaminarDB, embedded in this process, as a peer of `riverrun bench`: the conversation of `../README.md`.

mod engine;
mod workload;

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, Write};
use std::time::Instant;

use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use arrow::record_batch::RecordBatch;
use serde_json::{json, Value};

use workload::Workload;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A workload with its rows in memory.
struct Job {
    workload: Workload,
    rows: Vec<RecordBatch>,
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut job = None;
    for line in io::stdin().lock().lines() {
        let said: Value = serde_json::from_str(&line?)?;
        if said["cmd"] == "quit" {
            break;
        }
        let reply = reply(&runtime, &said, &mut job);
        let reply = reply.unwrap_or_else(|error| json!({"ok": false, "error": error.to_string()}));
        writeln!(io::stdout(), "{reply}")?;
        io::stdout().flush()?;
    }
    Ok(())
}

fn reply(runtime: &tokio::runtime::Runtime, said: &Value, job: &mut Option<Job>) -> Result<Value> {
    match said["cmd"].as_str() {
        Some("load") => load(said, job),
        Some("run") => measure(runtime, loaded(job)?),
        Some("answer") => answer(runtime, loaded(job)?, text(said, "path")?),
        _ => Err(format!("no command {}", said["cmd"]).into()),
    }
}

fn text<'a>(said: &'a Value, field: &str) -> Result<&'a str> {
    said[field].as_str().ok_or_else(|| format!("\"{field}\" is missing").into())
}

fn loaded(job: &Option<Job>) -> Result<&Job> {
    job.as_ref().ok_or_else(|| "nothing is loaded".into())
}

fn load(said: &Value, job: &mut Option<Job>) -> Result<Value> {
    let start = Instant::now();
    // The old rows go before the new ones come: both together may not fit.
    *job = None;
    let name = text(said, "workload")?;
    let kind = name.trim_end_matches("_uniform");
    let Some(workload) = Workload::named(kind) else {
        return Ok(unsupported("not measured with LaminarDB"));
    };
    if text(said, "source")? != "memory" {
        return Ok(unsupported("LaminarDB's file connector is left out of this build"));
    }
    let table = if kind == name { "bidn" } else { "bidu" };
    let rows = read(&format!("{}/{table}.arrow", text(said, "data")?))?;
    *job = Some(Job { workload, rows });
    Ok(json!({"ok": true, "version": engine::VERSION, "load_s": start.elapsed().as_secs_f64()}))
}

fn unsupported(why: &str) -> Value {
    json!({"ok": false, "unsupported": true, "why": why})
}

fn read(path: &str) -> Result<Vec<RecordBatch>> {
    Ok(FileReader::try_new(File::open(path)?, None)?.collect::<std::result::Result<_, _>>()?)
}

fn measure(runtime: &tokio::runtime::Runtime, job: &Job) -> Result<Value> {
    let (start, cpu) = (Instant::now(), cpu_seconds()?);
    let answer = runtime.block_on(engine::run(&job.workload, &job.rows, engine::Keep::Counts))?;
    Ok(json!({
        "ok": true,
        "seconds": start.elapsed().as_secs_f64(),
        "cpu_seconds": cpu_seconds()? - cpu,
        "rows_in": job.rows.iter().map(RecordBatch::num_rows).sum::<usize>(),
        "rows_out": answer.rows,
    }))
}

fn answer(runtime: &tokio::runtime::Runtime, job: &Job, path: &str) -> Result<Value> {
    let answer = runtime.block_on(engine::run(&job.workload, &job.rows, engine::Keep::Rows))?;
    let batches = job.workload.folded(answer.batches)?;
    let first = batches.first().ok_or("the answer has no rows")?;
    let mut file = FileWriter::try_new(File::create(path)?, &first.schema())?;
    for batch in &batches {
        file.write(batch)?;
    }
    file.finish()?;
    Ok(json!({"ok": true, "rows_out": batches.iter().map(RecordBatch::num_rows).sum::<usize>()}))
}

/// CPU time of all threads of this process, to the hundredth of a second that Linux keeps it by.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The second field is the program's name in brackets, and may hold anything.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = fields.skip(11).take(2).map(str::parse::<u64>).sum::<std::result::Result<u64, _>>()?;
    Ok(ticks as f64 / 100.0)
}
