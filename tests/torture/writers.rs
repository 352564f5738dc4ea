//! Writers, in all forms that a deferral can have; the scribbler; threads that come and go.

use crate::machine::{Rng, Ticker, move_to};
use crate::objects::{LAYOUTS, Object, allocate};
use crate::{HANDLED, SLOTS, World, layout_of, readers};
use gracealloc::atomic_section;
use std::alloc::{Layout, dealloc};
use std::collections::VecDeque;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::Duration;

/// Replacements between two looks at the clock.
const BATCH: u64 = 64;
/// Objects in one bulk.
const BULK: usize = 40;

/// A writer: the slots it owns, and what it has unlinked and not deferred yet.
struct Writer<'a> {
    world: &'a World,
    number: usize,
    rng: Rng,
    generation: u64,
    /// Unlinked, for the next bulk of each layout.
    bulks: [Vec<*mut u8>; LAYOUTS.len()],
    /// Unlinked before the cookie was taken; freed by hand once it has elapsed.
    waiting: VecDeque<(gracealloc::GraceCookie, *mut u8, Layout)>,
}

pub(crate) fn write(world: &World, number: usize, rng: Rng) {
    let _ticker = Ticker::start(1_000_000);
    let bulks = std::array::from_fn(|_| Vec::with_capacity(BULK));
    let mut writer =
        Writer { world, number, rng, generation: (number as u64 + 1) << 48, bulks, waiting: VecDeque::new() };
    while !world.stopped() {
        (0..BATCH).for_each(|_| writer.replace());
        writer.free_elapsed();
        world.writes.fetch_add(BATCH, Relaxed);
    }
    writer.finish();
}

impl Writer<'_> {
    /// How many slots it owns, and the first of them.
    fn owned(&self) -> usize {
        (SLOTS - HANDLED) / self.world.writers
    }

    fn first(&self) -> usize {
        self.number * self.owned()
    }

    /// A new object into one of its slots; the old one is retired.
    fn replace(&mut self) {
        let slot = self.first() + self.rng.below(self.owned());
        let old = self.exchange(slot);
        self.retire(old.cast(), layout_of(slot));
    }

    /// A new object into a slot that it owns; the old one is unlinked.
    fn exchange(&mut self, slot: usize) -> *mut Object {
        self.generation += 1;
        let (new, cell) = (Object::new(layout_of(slot), self.generation), &self.world.slots[slot]);
        let old = cell.load(Relaxed); // Relaxed: nobody else writes here
        cell.store(new, Release); // Release: the new object's words
        old
    }

    fn retire(&mut self, old: *mut u8, layout: Layout) {
        // SAFETY: unlinked above, allocated with this layout, and given back in one way only.
        unsafe {
            match self.rng.below(1000) {
                0..600 => gracealloc::deferred_free(old, layout),
                600..800 => self.retire_in_bulk(old, layout),
                800..890 => {
                    let _guard = crossbeam_epoch::pin();
                    gracealloc::deferred_free(old, layout);
                }
                890..980 => {
                    let _section = atomic_section();
                    gracealloc::deferred_free(old, layout);
                }
                980..990 => self.waiting.push_back((gracealloc::GraceCookie::now(), old, layout)),
                _ => {
                    gracealloc::deferred_free(old, layout);
                    self.interfere();
                }
            }
        }
    }

    /// # Safety
    /// - As for `deferred_free`.
    unsafe fn retire_in_bulk(&mut self, old: *mut u8, layout: Layout) {
        let bulk = &mut self.bulks[LAYOUTS.iter().position(|&l| l == layout).expect("one of them")];
        bulk.push(old);
        if bulk.len() == BULK {
            let _section = self.rng.one_in(4).then(atomic_section);
            // SAFETY: what the caller promises, for each of them.
            unsafe { gracealloc::deferred_free_bulk(bulk, layout) };
            bulk.clear();
        }
    }

    /// What is done now and then: waiting in every way there is, moving, doing the worker's work.
    fn interfere(&mut self) {
        match self.rng.below(1000) {
            0..500 => move_to(self.world.cpus[self.rng.below(self.world.cpus.len())]),
            500..900 => drop(gracealloc::drive()),
            900..980 => std::thread::yield_now(),
            980..990 => self.replace_all_and_wait(),
            990..995 => gracealloc::barrier(),
            _ => drop(gracealloc::trim()),
        }
    }

    /// What `synchronize` is for, with everything it owns: whoever reads meanwhile most likely has one of these.
    fn replace_all_and_wait(&mut self) {
        let slots = self.first()..self.first() + self.owned();
        let unlinked: Vec<_> = slots.map(|slot| (self.exchange(slot).cast(), layout_of(slot))).collect();
        gracealloc::synchronize();
        for (object, layout) in unlinked {
            // SAFETY: unlinked, and every reader that could have it has left.
            unsafe { self.free(object, layout) };
        }
    }

    fn free_elapsed(&mut self) {
        while let Some((cookie, ..)) = self.waiting.front() {
            if self.waiting.len() > 100 {
                cookie.wait();
            } else if !cookie.is_elapsed() {
                return;
            }
            let (_, object, layout) = self.waiting.pop_front().expect("looked at");
            // SAFETY: unlinked before the cookie was taken, and that has elapsed.
            unsafe { self.free(object, layout) };
        }
    }

    /// Spoils the object first: whoever still reads it sees that at once.
    ///
    /// # Safety
    /// - As for `dealloc`.
    unsafe fn free(&self, object: *mut u8, layout: Layout) {
        // SAFETY: the caller owns the object.
        unsafe {
            (*object.cast::<Object>()).spoil(1);
            dealloc(object, layout);
        }
    }

    fn finish(mut self) {
        for (layout, bulk) in LAYOUTS.iter().zip(&self.bulks) {
            // SAFETY: unlinked in `replace`.
            unsafe { gracealloc::deferred_free_bulk(bulk, *layout) };
        }
        if let Some((cookie, ..)) = self.waiting.back() {
            cookie.wait();
            self.free_elapsed();
        }
    }
}

/// Takes free objects, spoils them, keeps them for a while.
pub(crate) fn scribble(world: &World, mut rng: Rng) {
    let mut kept = VecDeque::new();
    while !world.stopped() {
        for _ in 0..BATCH {
            let layout = LAYOUTS[rng.below(LAYOUTS.len())];
            let object = allocate(layout);
            // SAFETY: just allocated.
            unsafe { (*object).spoil(rng.next()) };
            kept.push_back((object, layout));
        }
        // Sometimes more than caches hold: then it gets what went back to spans, too.
        let keep = if rng.one_in(100) { 0 } else { rng.below(20_000) };
        while kept.len() > keep {
            free_kept(kept.pop_front());
        }
        std::thread::yield_now();
    }
    kept.into_iter().for_each(|kept| free_kept(Some(kept)));
}

fn free_kept(kept: Option<(*mut Object, Layout)>) {
    if let Some((object, layout)) = kept {
        // SAFETY: allocated by the scribbler, with this layout.
        unsafe { dealloc(object.cast(), layout) };
    }
}

/// Threads that read a little, defer a little, and end.
pub(crate) fn churn(world: &World, mut rng: Rng) {
    while !world.stopped() {
        let mut rng = Rng(rng.next());
        std::thread::scope(|scope| {
            scope.spawn(move || {
                readers::read_batch(world, &mut rng);
                let layout = LAYOUTS[rng.below(LAYOUTS.len())];
                // SAFETY: nobody else has known these objects.
                (0..rng.below(200))
                    .for_each(|_| unsafe { gracealloc::deferred_free(Object::new(layout, 0).cast(), layout) });
            });
        });
        std::thread::sleep(Duration::from_millis(1));
    }
}
