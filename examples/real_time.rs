//! A control loop that must not block: it publishes a sample each cycle, whose memory was set aside and made resident before.
//!
//! In its `atomic_section` nothing waits, takes a lock or makes a system call: the sample comes from the `Reservation`, the
//! old one goes by `deferred_free`, which marks it where there is no room. A monitor reads the newest sample all the time.

use gracealloc::{GraceAlloc, Reservation, atomic_section, deferred_free, read};
use std::alloc::Layout;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::*};
use std::thread;
use std::time::{Duration, Instant};

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

const CYCLES: usize = 20_000;

struct Sample {
    cycle: usize,
    values: [usize; 31],
}

static NEWEST: AtomicPtr<Sample> = AtomicPtr::new(ptr::null_mut());

/// One cycle: publishes a sample, and retires the one before.
fn publish(samples: &mut Reservation, cycle: usize) {
    let memory = samples.alloc().expect("one was set aside for each cycle").cast::<Sample>().as_ptr();
    // SAFETY: fresh memory of this layout; what the swap unlinks is retired by this thread alone.
    unsafe {
        memory.write(Sample { cycle, values: [cycle; 31] });
        let old = NEWEST.swap(memory, AcqRel);
        deferred_free(old.cast(), Layout::new::<Sample>()); // null at first, which is fine
    }
}

/// Reads until the last cycle; how many cycles it has seen.
fn monitor() -> usize {
    let (mut seen, mut last) = (0, 0);
    while last < CYCLES {
        let _guard = read();
        // SAFETY: samples that are replaced stay while the guard is open.
        if let Some(sample) = unsafe { NEWEST.load(Acquire).as_ref() } {
            assert!(sample.values.iter().all(|&value| value == sample.cycle), "a whole sample, and not given back");
            assert!(sample.cycle >= last);
            seen += usize::from(sample.cycle > last);
            last = sample.cycle;
        }
    }
    seen
}

fn main() {
    let mut samples = Reservation::new(Layout::new::<Sample>(), CYCLES).expect("memory for all samples");
    let monitor = thread::spawn(monitor);
    let mut longest = Duration::ZERO;
    drop(atomic_section()); // the first one makes the reserve resident: not in the loop
    for cycle in 1..=CYCLES {
        let section = atomic_section();
        let begin = Instant::now();
        publish(&mut samples, cycle);
        longest = longest.max(begin.elapsed());
        drop(section);
        if cycle % 100 == 0 {
            thread::yield_now(); // until the next period
        }
    }
    assert!(samples.is_empty());
    let seen = monitor.join().unwrap();
    gracealloc::barrier();
    assert_eq!(gracealloc::stats().deferred_objects, 0, "all but the newest are back");
    println!("{CYCLES} cycles, {seen} of them seen, the longest {longest:?}");
}

#[test]
fn runs() {
    main();
}
