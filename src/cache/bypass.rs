//! One object without the slots: they are busy (a handler met the lock of what it interrupted), or no magazine is to be
//! had.

use super::depot::depot;
use super::exchange;
use crate::size_class::SizeClass;
use crate::slab;
use crate::slow_path::SlowPath;
use core::ptr;

/// An object from the depot, else from a span, in atomic context from the reserve. Null without memory.
pub(super) fn alloc(class: SizeClass, slow: &SlowPath) -> *mut u8 {
    if let Some(object) = from_depot(class, slow) {
        return object;
    }
    if slow.may_block() {
        return slab::take_one(class).map_or(ptr::null_mut(), |(object, _)| object);
    }
    let mut one = ptr::null_mut();
    slab::reserve::take(class, 1, |object| one = object);
    one
}

fn from_depot(class: SizeClass, slow: &SlowPath) -> Option<*mut u8> {
    let depot = depot()?;
    let magazine = depot.take_full(class)?;
    let object = magazine.pop();
    exchange::store(depot, class, magazine, slow);
    object
}

/// An object to its span, in atomic context by its mark. Cannot fail.
pub(super) fn free(class: SizeClass, object: *mut u8, slow: &SlowPath) {
    if slow.may_block() {
        slab::put_one(class, object);
    } else {
        slab::marks::FREE.set(class, object);
    }
}

/// An object straight from a span, and whether it reads as zero; `None` in atomic context or without memory.
pub(super) fn take_fresh(class: SizeClass, slow: &SlowPath) -> Option<(*mut u8, bool)> {
    if depot()?.count_full(class) > 0 {
        return None; // recycled objects first
    }
    slow.may_block().then(|| slab::take_one(class)).flatten()
}
