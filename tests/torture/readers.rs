//! Readers: short sections in great numbers, and now and then one that takes its time.

use crate::machine::{Rng, Ticker, move_to};
use crate::objects::{LAYOUTS, Object};
use crate::{Cast, World};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Sections between two looks at the clock.
const BATCH: u64 = 256;

pub(crate) fn read(world: &World, mut rng: Rng) {
    let _ticker = Ticker::start(1_300_000);
    while !world.stopped() {
        read_batch(world, &mut rng);
    }
}

pub(crate) fn read_batch(world: &World, rng: &mut Rng) {
    (0..BATCH).for_each(|_| section(world, rng));
    world.reads.fetch_add(BATCH, Relaxed);
}

/// One section, with a delay in every 1024th, or in every other where grace periods are short.
pub(crate) fn section(world: &World, rng: &mut Rng) {
    let _guard = world.kinds.open(rng);
    let look = world.look(rng);
    if rng.one_in(if world.cast == Cast::All { 1024 } else { 2 }) {
        dawdle(world, rng);
    }
    world.look_again(&look);
}

/// Something that takes longer than a grace period, or ends elsewhere than it began.
fn dawdle(world: &World, rng: &mut Rng) {
    // Where grace periods are to be short nobody leaves the CPU.
    match rng.below(if world.cast == Cast::All { 100 } else { 66 }) {
        0..55 if world.cast == Cast::Ages => spin(Duration::from_nanos(rng.below(300_000) as u64)),
        0..40 => spin(Duration::from_nanos(rng.below(20_000) as u64)),
        40..60 => section(world, rng),
        60..65 if world.kinds.has_own() => world.post.exchange(world, rng),
        60..70 => std::thread::yield_now(),
        70..85 => move_to(world.cpus[rng.below(world.cpus.len())]),
        85..95 => {
            let (layout, n) = (LAYOUTS[rng.below(LAYOUTS.len())], rng.below(300));
            // SAFETY: nobody else has known these objects.
            (0..n).for_each(|_| unsafe { gracealloc::deferred_free(Object::new(layout, 0).cast(), layout) });
        }
        95..99 => std::thread::sleep(Duration::from_micros(200)),
        _ => std::thread::sleep(Duration::from_millis(rng.below(20) as u64)),
    }
}

pub(crate) fn spin(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}
