//! Stands in for `rseq` and `membarrier` where there are none, with the same signatures, so that `slots` is the same
//! everywhere: nothing is ever found, so no section is ever run.

pub(super) mod rseq {
    use crate::platform::Magazine;
    use core::sync::atomic::{AtomicIsize, AtomicPtr};

    pub(in crate::platform) const CELL_SHIFT: u32 = 12;
    pub(in crate::platform) const OUTSIDE: usize = 0;

    pub(in crate::platform) struct Ready {
        pub(in crate::platform) base: AtomicPtr<u8>,
        pub(in crate::platform) offset: AtomicIsize,
    }

    static READY: Ready = Ready { base: AtomicPtr::new(core::ptr::null_mut()), offset: AtomicIsize::new(0) };

    pub(in crate::platform) fn ready() -> &'static Ready {
        &READY
    }

    #[expect(dead_code, reason = "nothing here reads it")]
    pub(in crate::platform) struct Access {
        pub(in crate::platform) slot: *mut u8,
        pub(in crate::platform) offset: isize,
    }

    /// No C library here registers areas.
    pub(in crate::platform) fn area_offset() -> Option<isize> {
        None
    }

    pub(in crate::platform) fn cpu_at(_offset: isize) -> u32 {
        u32::MAX // out of range: the extra cell
    }

    /// # Safety
    /// - None; `unsafe` for the sake of the signature.
    pub(in crate::platform) unsafe fn pop(_access: Access) -> *mut u8 {
        core::ptr::null_mut()
    }

    /// # Safety
    /// - None; `unsafe` for the sake of the signature.
    pub(in crate::platform) unsafe fn push(_access: Access, _object: *mut u8) -> bool {
        false
    }

    /// # Safety
    /// - None; `unsafe` for the sake of the signature.
    pub(in crate::platform) unsafe fn replace(
        _access: Access,
        _cpus: u32,
        _expected: *mut Magazine,
        _new: *mut Magazine,
    ) -> *mut Magazine {
        core::ptr::null_mut() // no magazine is there: changed
    }

    /// # Safety
    /// - None; `unsafe` for the sake of the signature.
    pub(in crate::platform) unsafe fn enter(_access: Access) -> u64 {
        0 // closed
    }

    /// # Safety
    /// - None; `unsafe` for the sake of the signature.
    pub(in crate::platform) unsafe fn leave(_access: Access, _parity: u64) -> bool {
        false
    }
}

pub(super) mod membarrier {
    pub(in crate::platform) fn register() -> bool {
        false
    }

    pub(in crate::platform) fn restart_sections() -> bool {
        false
    }

    pub(in crate::platform) fn fence_all() -> bool {
        false
    }

    pub(in crate::platform) fn order_all() -> bool {
        false
    }
}
