//! The terminal: arguments, a prompt, progress. What statements do is the console's work.

mod arguments;
mod bench;
mod host;
mod idle;
mod interrupt;
mod progress;
mod prompt;

use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;

use clap::ColorChoice;
use riverrun::console::{Colour, Console, Messages, OnError, Ran};
use riverrun::{Access, Code, Engine, Error};

use arguments::{Action, Arguments, Settings, Source};
use host::Terminal;

/// Rows that come one by one are many small allocations; this allocator makes them in less time than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Done = 0,
    StatementFailed = 1,
    Io = 3,
}

fn main() -> ExitCode {
    let (arguments, sources) = Arguments::of_process();
    let exit = match run(&arguments, sources) {
        Ok(exit) => exit,
        // Whoever reads the output has seen enough: `riverrun … | head` is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(error) => {
            // If standard error is closed too, there is nobody left to tell.
            let _ = writeln!(io::stderr(), "error[io]: {error}");
            Exit::Io
        }
    };
    ExitCode::from(exit as u8)
}

fn run(arguments: &Arguments, sources: Vec<Source>) -> io::Result<Exit> {
    if let Some(Action::Bench(arguments)) = &arguments.action {
        return bench(arguments);
    }
    let settings = &arguments.settings;
    let access = match access(settings) {
        Ok(access) => access,
        Err(error) => return refuse(&error, settings),
    };
    let engine = match Engine::builder().access(access.clone()).build() {
        Ok(engine) => engine,
        Err(error) => return refuse(&error, settings),
    };
    interrupt::install(engine.cancel_handle());
    let interactive = sources.is_empty() && io::stdin().is_terminal();
    let terminal = Terminal::new(access, engine.progress());
    let mut console = Console::new(engine, settings.format)
        .with_host(terminal)
        .with_colour(colour(settings))
        .with_on_error(if interactive || settings.keep_going { OnError::Continue } else { OnError::Stop })
        .with_messages(if interactive { Messages::Show } else { Messages::Hide });
    if interactive {
        return prompt::run(console);
    }
    let sources = if sources.is_empty() { vec![Source::StandardInput] } else { sources };
    run_sources(&mut console, sources)
}

fn bench(arguments: &bench::BenchArguments) -> io::Result<Exit> {
    match bench::run(arguments) {
        Ok(()) => Ok(Exit::Done),
        Err(error) => {
            writeln!(io::stderr(), "error[bench]: {error}")?;
            Ok(Exit::StatementFailed)
        }
    }
}

fn run_sources(console: &mut Console, sources: Vec<Source>) -> io::Result<Exit> {
    for source in sources {
        let (text, origin) = match source {
            Source::Text(text) => (text, None),
            Source::StandardInput => (standard_input()?, None),
            Source::File(path) => {
                let origin = path.display().to_string();
                let read = std::fs::read_to_string(&path);
                (read.map_err(|error| io::Error::new(error.kind(), format!("{origin}: {error}")))?, Some(origin))
            }
        };
        match run_text(console, &text, origin.as_deref())? {
            Ran::Completed => {}
            Ran::Failed(error) => return Ok(exit_of(&error)),
            Ran::Quit => return Ok(Exit::Done),
        }
    }
    Ok(Exit::Done)
}

/// Runs a text with results to standard output and errors to standard error.
fn run_text(console: &mut Console, text: &str, origin: Option<&str>) -> io::Result<Ran> {
    console.set_width(width());
    interrupt::reset();
    let mut out = io::BufWriter::new(io::stdout().lock());
    let ran = console.run_text(text, origin, &mut out, &mut io::stderr())?;
    out.flush()?;
    Ok(ran)
}

fn standard_input() -> io::Result<String> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// How wide a table may be: as the terminal, if it goes to one.
fn width() -> Option<u16> {
    terminal_size::terminal_size().map(|(width, _)| width.0).filter(|width| *width > 0)
}

/// What statements may reach.
fn access(settings: &Settings) -> riverrun::Result<Access> {
    let access = match (settings.safe, settings.allow_all, settings.allow.is_empty()) {
        (true, _, _) => return Ok(Access::none()),
        (false, true, _) => return Ok(Access::all()),
        (false, false, true) => Access::directories(["."])?,
        (false, false, false) => Access::directories(&settings.allow)?,
    };
    Ok(access.allow_stdio(true))
}

fn refuse(error: &Error, settings: &Settings) -> io::Result<Exit> {
    writeln!(io::stderr(), "{}", riverrun::console::render_error(error, None, colour(settings)))?;
    Ok(exit_of(error))
}

fn exit_of(error: &Error) -> Exit {
    match error.code() {
        Code::Io | Code::AccessDenied => Exit::Io,
        _ => Exit::StatementFailed,
    }
}

/// Colours are for terminals, unless something else is asked for; `NO_COLOR` asks for none (<https://no-color.org>).
fn colour(settings: &Settings) -> Colour {
    let wanted = match settings.color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            io::stderr().is_terminal() && !refused
        }
    };
    if wanted { Colour::On } else { Colour::Off }
}
