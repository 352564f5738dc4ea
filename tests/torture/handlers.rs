//! Signal handlers as readers and writers: they land between any two instructions of the others, in the allocator too.

use crate::machine::Ticker;
use crate::objects::Object;
use crate::{HANDLED, SLOTS, World, layout_of};
use gracealloc::GraceAlloc;
use std::alloc::GlobalAlloc;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};

/// The world that handlers write in; null between runs.
static WORLD: AtomicPtr<World> = AtomicPtr::new(ptr::null_mut());

/// As long as it lives, handlers write in a world. It outlives all threads that take signals.
pub(crate) struct Handled;

impl Handled {
    pub(crate) fn by(world: &World) -> Self {
        WORLD.store(ptr::from_ref(world).cast_mut(), Release); // Release: the slots
        Ticker::also(replace);
        Self
    }
}

impl Drop for Handled {
    fn drop(&mut self) {
        WORLD.store(ptr::null_mut(), Release);
    }
}

/// Runs in an atomic section: without memory it does nothing.
fn replace(tick: usize) {
    // SAFETY: null, or a world that lives as long as threads take signals.
    let Some(world) = (unsafe { WORLD.load(Acquire).as_ref() }) else { return };
    if world.kinds.has_own() && tick.is_multiple_of(2) {
        let _guard = gracealloc::read();
        let look = world.look_at(tick.wrapping_mul(0x9e37_79b9));
        return world.look_again(&look);
    }
    let slot = SLOTS - HANDLED + tick % HANDLED;
    // SAFETY: the layout has a size; what was in the slot is unlinked by the swap, and given back once.
    unsafe {
        let new = GraceAlloc.alloc(layout_of(slot)).cast::<Object>();
        if let Some(object) = new.as_ref() {
            object.publish(1 << 63 | tick as u64);
            let old = world.slots[slot].swap(new, AcqRel);
            gracealloc::deferred_free(old.cast(), layout_of(slot));
        }
    }
}
