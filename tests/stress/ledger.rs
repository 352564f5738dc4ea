//! What is known of the objects in use, kept where a broken allocator cannot reach: in the system allocator's memory.

use gracealloc::GraceAlloc;
use std::alloc::{GlobalAlloc, Layout};
use std::collections::HashSet;
use std::sync::Mutex;

const SHARDS: usize = 64;

/// The addresses of all objects in use.
pub(crate) struct Ledger([Mutex<HashSet<usize>>; SHARDS]);

/// An object in use. Its owner alone reads and writes it; its words hold a pattern of its own.
pub(crate) struct Object {
    ptr: *mut u8,
    layout: Layout,
    tag: u64,
}

// SAFETY: whoever has the value owns the object.
unsafe impl Send for Object {}

/// Pattern words at either end of an object.
const ENDS: usize = 32;

impl Ledger {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }

    fn shard(&self, ptr: *mut u8) -> &Mutex<HashSet<usize>> {
        &self.0[(ptr.addr() >> 4) % SHARDS]
    }

    fn enter(&self, ptr: *mut u8) {
        assert!(self.shard(ptr).lock().unwrap().insert(ptr.addr()), "{ptr:p} was handed out twice");
    }

    fn leave(&self, ptr: *mut u8) {
        assert!(self.shard(ptr).lock().unwrap().remove(&ptr.addr()), "{ptr:p} was not in use");
    }

    /// Allocates an object and fills it; `None` if the allocator has nothing. `tag` is the pattern, odd ones are
    /// allocated zeroed and checked.
    pub(crate) fn alloc(&self, layout: Layout, tag: u64) -> Option<Object> {
        let zeroed = tag & 1 != 0;
        // SAFETY: the layout has a size.
        let ptr = unsafe { if zeroed { GraceAlloc.alloc_zeroed(layout) } else { GraceAlloc.alloc(layout) } };
        if ptr.is_null() {
            return None;
        }
        self.enter(ptr);
        assert_eq!(ptr.addr() % layout.align(), 0, "alignment");
        let object = Object { ptr, layout, tag };
        assert!(!zeroed || object.bytes().iter().all(|&byte| byte == 0), "{ptr:p} {layout:?} is not zeroed");
        object.fill();
        Some(object)
    }

    /// Checks an object's pattern and frees it.
    pub(crate) fn free(&self, object: Object) {
        object.check(object.layout.size());
        self.leave(object.ptr);
        // SAFETY: allocated with this layout; the value is gone after this.
        unsafe { GraceAlloc.dealloc(object.ptr, object.layout) };
    }

    /// Resizes an object; what both sizes have in common stays. Without memory it is as before.
    pub(crate) fn realloc(&self, object: &mut Object, size: usize) {
        object.check(object.layout.size());
        let before: Vec<u8> = object.bytes()[..size.min(object.layout.size())].to_vec();
        self.leave(object.ptr);
        // SAFETY: allocated with this layout, which has a size, as has the new one.
        let moved = unsafe { GraceAlloc.realloc(object.ptr, object.layout, size) };
        if !moved.is_null() {
            object.ptr = moved;
            object.layout = Layout::from_size_align(size, object.layout.align()).unwrap();
            assert_eq!(object.bytes()[..before.len()], before, "{moved:p}: realloc lost data");
            object.fill();
        }
        self.enter(object.ptr);
    }

    /// Objects in use.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }
}

impl Object {
    fn bytes(&self) -> &[u8] {
        // SAFETY: we own the object, of which every byte is initialised once `fill` has run. Before that a freshly
        // allocated zeroed one is.
        unsafe { std::slice::from_raw_parts(self.ptr, self.layout.size()) }
    }

    /// The places of the pattern: the words at both ends.
    fn places(size: usize) -> impl Iterator<Item = usize> {
        let words = size / 8;
        (0..words.min(ENDS))
            .chain(words.saturating_sub(ENDS).max(ENDS)..words.max(ENDS))
            .take_while(move |&at| at < words)
            .map(|at| at * 8)
    }

    fn word(&self, at: usize) -> u64 {
        self.tag ^ (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn fill(&self) {
        // SAFETY: we own the object.
        unsafe {
            self.ptr.write_bytes(self.tag as u8, self.layout.size());
            Self::places(self.layout.size())
                .for_each(|at| self.ptr.add(at).cast::<u64>().write_unaligned(self.word(at)));
        }
    }

    fn check(&self, size: usize) {
        for at in Self::places(size) {
            // SAFETY: we own the object.
            let found = unsafe { self.ptr.add(at).cast::<u64>().read_unaligned() };
            assert_eq!(found, self.word(at), "{:p}+{at} {:?} was written by somebody else", self.ptr, self.layout);
        }
    }
}
