//! Readers: short sections in great numbers, and now and then one that takes its time.

use crate::machine::{Rng, move_to};
use crate::objects::{LAYOUTS, Object};
use crate::{SLOTS, World};
use crossbeam_epoch::pin;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::{Duration, Instant};

/// Sections between two looks at the clock.
const BATCH: u64 = 256;

pub(crate) fn read(world: &World, mut rng: Rng) {
    while !world.stopped() {
        read_batch(world, &mut rng);
    }
}

pub(crate) fn read_batch(world: &World, rng: &mut Rng) {
    (0..BATCH).for_each(|_| section(world, rng));
    world.reads.fetch_add(BATCH, Relaxed);
}

/// One section, with a delay in every 1024th.
fn section(world: &World, rng: &mut Rng) {
    let _guard = pin();
    let dice = rng.next() as usize;
    // SAFETY: published, and not given back while the guard lives, unless the allocator is broken. Then this is memory
    // that the allocator keeps, and only atomic loads look at it.
    let object: &Object = unsafe { &*world.slots[dice % SLOTS].load(Acquire) };
    let before = object.look();
    if (dice >> 32).is_multiple_of(1024) {
        dawdle(world, rng);
    }
    world.finds.compare(before, object.look());
}

/// Something that takes longer than a grace period, or ends elsewhere than it began.
fn dawdle(world: &World, rng: &mut Rng) {
    match rng.below(100) {
        0..40 => spin(Duration::from_nanos(rng.below(20_000) as u64)),
        40..60 => std::thread::yield_now(),
        60..75 => section(world, rng),
        75..85 => move_to(world.cpus[rng.below(world.cpus.len())]),
        85..95 => {
            let (layout, n) = (LAYOUTS[rng.below(LAYOUTS.len())], rng.below(300));
            // SAFETY: nobody else has known these objects.
            (0..n).for_each(|_| unsafe { gracealloc::deferred_free(Object::new(layout, 0).cast(), layout) });
        }
        95..99 => std::thread::sleep(Duration::from_micros(200)),
        _ => std::thread::sleep(Duration::from_millis(rng.below(20) as u64)),
    }
}

fn spin(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}
