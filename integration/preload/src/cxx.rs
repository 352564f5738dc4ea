//! C++'s `operator delete` with a size or an alignment.
//!
//! `new` in all its forms and the plain `delete` stay the C++ library's: they end in `malloc`, `aligned_alloc` and `free`, and
//! `new` must be able to throw. The forms here spare the look-up that a plain `free` needs, or a detour.
//!
//! A program may replace `new` and the plain `delete` by its own, and then the other forms must end in those. So it is asked,
//! once, whose they are:
//!
//! ```text
//!   all the C++ library's                   the size is taken as it comes
//!   one is somebody else's                  the C++ library's function of the same name goes on, as if we were not there
//!   not to be seen (loaded by `dlopen`)     the plain `free` decides, which knows a block when it sees one
//! ```

use crate::plain::free;
use crate::sized::free_sized;
use core::ffi::{CStr, c_void};
use core::mem::{MaybeUninit, transmute};
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Whose `new` and plain `delete` are.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Owner {
    Library = 1,
    Program,
    Unseen,
}

/// Who may be replaced and so must stand where the library has what cannot be.
const REPLACEABLE: [&CStr; 4] = [c"_Znwm", c"_Znam", c"_ZdlPv", c"_ZdaPv"];
const FIXED: &CStr = c"_ZSt15get_new_handlerv";

/// 0 until somebody asked, else an [`Owner`]. Relaxed: whoever asks finds the same.
static OWNER: AtomicU8 = AtomicU8::new(0);

#[inline(always)]
fn is_librarys() -> bool {
    OWNER.load(Relaxed) == Owner::Library as u8
}

#[cold]
fn owner() -> Owner {
    let known = [Owner::Library, Owner::Program, Owner::Unseen].into_iter().find(|&o| o as u8 == OWNER.load(Relaxed));
    known.unwrap_or_else(|| {
        let owner = ask().unwrap_or(Owner::Unseen);
        OWNER.store(owner as u8, Relaxed);
        owner
    })
}

/// `None` where there is no C++ library to be seen.
fn ask() -> Option<Owner> {
    let library = object_of(FIXED)?;
    let is_its_own = REPLACEABLE.iter().all(|&name| object_of(name) == Some(library));
    Some(if is_its_own { Owner::Library } else { Owner::Program })
}

/// Where the object begins that a function of this name, the first in the program's order, stands in.
fn object_of(name: &CStr) -> Option<usize> {
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: the name is a C string; `info` is ours to write, and all zero is a value of it.
    unsafe {
        let at = libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr());
        (!at.is_null() && libc::dladdr(at, info.as_mut_ptr()) != 0).then(|| info.assume_init().dli_fbase.addr())
    }
}

/// The C++ library's own function of this name.
fn next(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: the name is a C string.
    let at = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    (!at.is_null()).then_some(at)
}

/// Asked when the program is loaded, so that later no `delete` waits for the loader's lock. A program without the C++ library may
/// still load it.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_LOAD: extern "C" fn() = {
    extern "C" fn at_load() {
        if let Some(owner) = ask() {
            OWNER.store(owner as u8, Relaxed);
        }
    }
    at_load
};

/// Defines one form: its mangled name, what follows the pointer, and what it does where nobody has replaced anything.
macro_rules! delete {
    ($(#[$doc:meta])* $name:ident ( $($argument:ident),* ) => $usual:expr) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// - As for [`free`]; the size is the one that was asked for.
        #[unsafe(no_mangle)]
        #[allow(non_snake_case)]
        pub(crate) unsafe extern "C" fn $name(ptr: *mut c_void $(, $argument: usize)*) {
            const NAME: &CStr = match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                Ok(name) => name,
                Err(_) => unreachable!(),
            };
            type Form = unsafe extern "C" fn(*mut c_void $(, delete!(@usize $argument))*);
            // SAFETY: handed on to the caller; what the C++ library has by this name takes the same.
            unsafe {
                if is_librarys() {
                    return $usual(ptr, $($argument),*);
                }
                match next(NAME).filter(|_| owner() != Owner::Unseen) {
                    Some(next) => transmute::<*mut c_void, Form>(next)(ptr $(, $argument)*),
                    None => free(ptr),
                }
            }
        }
    };
    (@usize $argument:ident) => { usize };
}

/// A block without its size and alignment, which its place says.
#[inline(always)]
unsafe fn free_aligned(ptr: *mut c_void, _align: usize) {
    // SAFETY: handed on to the caller.
    unsafe { free(ptr) }
}

#[inline(always)]
unsafe fn free_sized_aligned(ptr: *mut c_void, _size: usize, _align: usize) {
    // SAFETY: handed on to the caller.
    unsafe { free(ptr) }
}

delete! {
    /// `operator delete(void*, std::size_t)`.
    _ZdlPvm(size) => free_sized
}
delete! {
    /// `operator delete[](void*, std::size_t)`.
    _ZdaPvm(size) => free_sized
}
delete! {
    /// `operator delete(void*, std::align_val_t)`.
    _ZdlPvSt11align_val_t(align) => free_aligned
}
delete! {
    /// `operator delete[](void*, std::align_val_t)`.
    _ZdaPvSt11align_val_t(align) => free_aligned
}
delete! {
    /// `operator delete(void*, std::size_t, std::align_val_t)`.
    _ZdlPvmSt11align_val_t(size, align) => free_sized_aligned
}
delete! {
    /// `operator delete[](void*, std::size_t, std::align_val_t)`.
    _ZdaPvmSt11align_val_t(size, align) => free_sized_aligned
}
