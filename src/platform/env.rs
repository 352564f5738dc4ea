//! The raw environment block. `std::env` takes a lock and allocates; here both are forbidden.

use core::ffi::CStr;

/// Calls `each` with the name and value of every variable whose name starts with `prefix`. Nothing in a set-uid
/// program (AT_SECURE), whose environment belongs to somebody else.
pub(crate) fn for_each(prefix: &[u8], mut each: impl FnMut(&'static [u8], &'static [u8])) {
    if is_secure() {
        return;
    }
    let mut at = block();
    while !at.is_null() {
        // SAFETY: the block is an array of C strings that ends with a null; it lives as long as the process (a program
        // that edits it while our first allocation runs breaks every other reader too).
        let entry = unsafe {
            let entry = *at;
            if entry.is_null() {
                return;
            }
            at = at.add(1);
            CStr::from_ptr(entry).to_bytes()
        };
        if let Some(eq) = entry.iter().position(|&b| b == b'=').filter(|_| entry.starts_with(prefix)) {
            each(&entry[..eq], &entry[eq + 1..]);
        }
    }
}

#[cfg(all(unix, not(any(target_vendor = "apple", miri))))]
fn block() -> *const *const libc::c_char {
    unsafe extern "C" {
        static environ: *const *const libc::c_char;
    }
    // SAFETY: every Unix libc has it; reading the pointer is one load.
    unsafe { environ }
}

#[cfg(all(target_vendor = "apple", not(miri)))]
fn block() -> *const *const libc::c_char {
    // SAFETY: returns the address of the program's `environ`.
    unsafe { (*libc::_NSGetEnviron()).cast_const().cast() }
}

#[cfg(any(not(unix), miri))]
fn block() -> *const *const libc::c_char {
    core::ptr::null()
}

#[cfg(all(target_os = "linux", not(miri)))]
fn is_secure() -> bool {
    // SAFETY: asks for a number.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn is_secure() -> bool {
    false
}
