//! Freed at once: what deferring costs is the difference to this. Right only where there are no readers.

use std::ptr::NonNull;

use super::{Object, Scheme};
use crate::heap;

/// The scheme that waits for nobody.
#[derive(Debug, Default)]
pub struct Immediate;

impl Scheme for Immediate {
    const NAME: &'static str = super::IMMEDIATE;

    #[inline(always)]
    unsafe fn retire<const WORDS: usize>(&self, object: NonNull<Object<WORDS>>) {
        // SAFETY: by contract it has this layout, and nobody else has it.
        unsafe { heap::give_back(object.cast(), super::layout::<WORDS>()) };
    }
}
