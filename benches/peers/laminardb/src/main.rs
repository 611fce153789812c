//! LaminarDB as a peer of `riverrun bench`: its embedded engine, told line by line what to do.
//!
//! `../README.md` of the peers has the conversation. Rows are pushed into LaminarDB's sources from memory, and the
//! answer is what its subscribers get, or what a view of it holds at the end.

mod answer;
mod engine;
mod job;
mod request;
mod subscriber;
mod tables;
mod workloads;

use std::fs::File;
use std::io::{self, BufRead, Write};

use serde_json::{Value, json};

use crate::job::Job;
use crate::request::{Failure, Request, Result};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The version of LaminarDB that Cargo.toml pins.
const VERSION: &str = "0.33.0";
/// Where replies go. run.sh makes this the standard output, and the standard output the standard error, so that
/// nothing a library prints gets into the conversation.
const REPLIES: &str = "/dev/fd/3";

fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .init();
    // LaminarDB brings its own threads; this one pushes rows and takes the answer.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let replies = File::options().write(true).open(REPLIES);
    let mut replies = replies.map_err(|error| format!("{REPLIES}: {error}; run.sh starts this with it"))?;
    let mut loaded = None;
    for line in io::stdin().lock().lines() {
        let said: Value = serde_json::from_str(&line?)?;
        if said["cmd"] == "quit" {
            break;
        }
        let reply = runtime.block_on(reply(&said, &mut loaded)).unwrap_or_else(refusal);
        writeln!(replies, "{reply}")?;
    }
    Ok(())
}

/// Does what was said.
async fn reply(said: &Value, loaded: &mut Option<Job>) -> Result<Value> {
    match said["cmd"].as_str() {
        Some("load") => {
            // The old rows must be gone before the new ones come: both together may not fit.
            *loaded = None;
            let (job, load_s) = Job::load(&Request::parse(said)?).await?;
            *loaded = Some(job);
            Ok(json!({"ok": true, "version": VERSION, "load_s": load_s}))
        }
        Some("run") => {
            let run = job(loaded)?.run(job::Keep::Nothing).await?;
            Ok(json!({
                "ok": true, "seconds": run.seconds, "cpu_seconds": run.cpu_seconds,
                "rows_in": run.rows_in, "rows_out": run.rows_out,
            }))
        }
        Some("answer") => {
            let path = said["path"].as_str().ok_or("\"answer\" needs a path")?;
            let job = job(loaded)?;
            let run = job.run(job::Keep::Rows).await?;
            Ok(json!({"ok": true, "rows_out": answer::write(&run.answer, job.columns(), path)?}))
        }
        _ => Err(format!("no command {}", said["cmd"]).into()),
    }
}

fn job(loaded: &Option<Job>) -> Result<&Job> {
    Ok(loaded.as_ref().ok_or("nothing is loaded")?)
}

fn refusal(failure: Failure) -> Value {
    match failure {
        Failure::Unsupported(why) => json!({"ok": false, "unsupported": true, "why": why}),
        Failure::Error(error) => json!({"ok": false, "error": error.to_string()}),
    }
}
