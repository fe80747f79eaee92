//! What the sound threads allocate for each frame.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use holobooth::sound::FRAME;
use holobooth::sound::clock_line::ClockLine;
use holobooth::sound::echo::{AdaptiveCanceller, EchoCanceller, reference};
use holobooth::sound::limiter::Limiter;

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: hands everything on to the system's allocator, which keeps the contract; counting allocates
// nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `alloc`, and so from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = COUNT.with(Cell::get);
    work();
    COUNT.with(Cell::get) - before
}

#[test]
fn nothing_is_allocated_in_steady_state() {
    let line = ClockLine { index: 0.0, at_us: 1e6, rate_hz: 48_002.0 };
    let (mut writer, mut reader) = reference(1_000.0).unwrap();
    let mut canceller = AdaptiveCanceller::new();
    let mut limiter = Limiter::new(6.0);
    let mut random = fastrand::Rng::with_seed(1);
    let mut played = [0.0; FRAME];
    let mut all = 0;
    for at in 0..600u64 {
        let block: [f32; FRAME] = std::array::from_fn(|_| 0.2 * (random.f32() - 0.5));
        let mut frame = block;
        let of_frame = allocations(|| {
            writer.write(at * 480, &block, line);
            reader.read(line.time_us(at as f64 * 480.0) - 20_000.0, 48_000.0, &mut played).unwrap();
            canceller.process(&played, &mut frame);
            limiter.process(&mut frame);
        });
        all += if at >= 100 { of_frame } else { 0 };
    }
    assert_eq!(all, 0);
}
