//! Keeps the object that contains this code loaded.
//!
//! A thread's `rseq_cs` field may point at a descriptor in here long after its section ended, and the kernel kills a
//! process whose field points at unmapped memory. The fork handlers live here too.

/// Makes unloading this shared object impossible. Takes the loader's lock: only for callers that may block.
#[cfg(all(target_os = "linux", not(target_feature = "crt-static"), not(miri)))]
pub(crate) fn own_object() {
    let mut info = core::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: `info` is ours to write, and its path a C string of the loader's; with RTLD_NOLOAD nothing new is loaded.
    unsafe {
        if libc::dladdr((own_object as fn()) as *const _, info.as_mut_ptr()) != 0 {
            let path = info.assume_init().dli_fname;
            libc::dlopen(path, libc::RTLD_NOW | libc::RTLD_NOLOAD | libc::RTLD_NODELETE);
        }
    }
}

/// A static program is never unloaded; other systems have no restartable sections.
#[cfg(not(all(target_os = "linux", not(target_feature = "crt-static"), not(miri))))]
pub(crate) fn own_object() {}
