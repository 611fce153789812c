//! Asking for memory before it is needed.
//!
//! The one place in the engine with `unsafe`. Where keys come in no order, each of a batch's groups is somewhere else in
//! memory, and a loop that reads them waits for one handful after the other: reads that wait fill the processor's window
//! of instructions. A request does not wait, so that a loop of requests has as many under way as the memory can serve.

/// Asks the processor to have `item` at hand soon. It has no other effect, and none where it is not known how to ask.
#[inline(always)]
pub fn prefetch<T>(item: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a prefetch is a hint: it reads and writes nothing that the program can see, and cannot fault, wherever
        // the address points. SSE, which it belongs to, is part of every x86_64.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(item).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = item;
}
