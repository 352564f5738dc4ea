//! Never freed: no reclamation at all, but fresh memory for every object, which costs page faults and cache misses. A
//! scheme that is faster than this gains by using memory again while it is warm.

use std::ptr::NonNull;

use super::{Object, Scheme};

/// The scheme that forgets.
#[derive(Debug, Default)]
pub struct Leak;

impl Scheme for Leak {
    const NAME: &'static str = "leak";
    const LEAKS: bool = true;

    #[inline(always)]
    unsafe fn retire<const WORDS: usize>(&self, _object: NonNull<Object<WORDS>>) {}
}
