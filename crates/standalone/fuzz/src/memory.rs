//! An allocator that counts, so that a target can say how much memory its input may cost.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What every input may cost, however short it is.
const BASE: usize = 64 * 1024;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is handed on unchanged to the system's allocator; only numbers are added up beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(held, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(block, layout) }
    }
}

/// Runs `work` and panics if it ever held more than 64 KiB and `factor` bytes for each of the `input`'s.
///
/// Only for one thread: what others allocate meanwhile counts, too.
pub fn bounded<T>(input: usize, factor: usize, work: impl FnOnce() -> T) -> T {
    let before = HELD.load(Relaxed);
    PEAK.store(before, Relaxed);
    let result = work();
    let peak = PEAK.load(Relaxed) - before;
    let most = BASE + factor * input;
    assert!(peak <= most, "{peak} bytes were held for {input} bytes of input; the bound is {most}");
    result
}
