//! Ctrl-C while a statement runs: the first cancels the statement, the second ends the process.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use riverrun::CancelHandle;

static HANDLE: OnceLock<CancelHandle> = OnceLock::new();
static PRESSED: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C cancels what `handle` is of.
pub fn install(handle: CancelHandle) {
    if HANDLE.set(handle).is_ok() {
        system::listen();
    }
}

/// Forgets a Ctrl-C that came when nothing was running.
pub fn reset() {
    PRESSED.store(false, Ordering::Relaxed);
    if let Some(handle) = HANDLE.get() {
        handle.reset();
    }
}

#[cfg(unix)]
mod system {
    use super::{HANDLE, Ordering, PRESSED};

    const SIGINT: i32 = 2;
    /// What a shell reports for a process that SIGINT has ended.
    const EXIT: i32 = 130;

    unsafe extern "C" {
        fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
        fn _exit(code: i32) -> !;
    }

    /// Only atomics are touched here: a signal may arrive anywhere.
    extern "C" fn interrupted(_: i32) {
        if PRESSED.swap(true, Ordering::Relaxed) {
            // SAFETY: `_exit` may be called in a signal handler; it runs no destructor and takes no lock.
            unsafe { _exit(EXIT) }
        }
        if let Some(handle) = HANDLE.get() {
            handle.cancel();
        }
    }

    pub fn listen() {
        // SAFETY: the handler is a function that lives as long as the process and only touches atomics.
        unsafe { signal(SIGINT, interrupted) };
    }
}

#[cfg(not(unix))]
mod system {
    /// Elsewhere Ctrl-C ends the process, as it does by default.
    pub fn listen() {}
}
