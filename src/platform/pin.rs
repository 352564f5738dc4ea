//! Keeps the object that contains this code loaded.
//!
//! A thread's `rseq_cs` field may point at a descriptor in here long after its section ended, and the kernel kills a
//! process whose field points at unmapped memory. The fork handlers live here too.
//!
//! The program itself is never unloaded. Asking for it by its path would have the loader open and read it again.

/// Makes unloading this shared object impossible. Takes the loader's lock: only for callers that may block.
#[cfg(all(target_os = "linux", not(target_feature = "crt-static"), not(miri)))]
pub(crate) fn own_object() {
    if is_in_program((own_object as fn()) as usize) {
        return;
    }
    let mut info = core::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: `info` is ours to write, and its path a C string of the loader's; with RTLD_NOLOAD nothing new is loaded.
    unsafe {
        if libc::dladdr((own_object as fn()) as *const _, info.as_mut_ptr()) != 0 {
            let path = info.assume_init().dli_fname;
            libc::dlopen(path, libc::RTLD_NOW | libc::RTLD_NOLOAD | libc::RTLD_NODELETE);
        }
    }
}

/// Whether the code at this address is the program's, not a library's.
#[cfg(all(target_os = "linux", not(target_feature = "crt-static"), not(miri)))]
fn is_in_program(address: usize) -> bool {
    let mut wanted = address;
    // SAFETY: `look_at_first` takes what the loader hands it, and the address of this `usize`.
    unsafe { libc::dl_iterate_phdr(Some(look_at_first), (&raw mut wanted).cast()) == FOUND }
}

#[cfg(all(target_os = "linux", not(target_feature = "crt-static"), not(miri)))]
const FOUND: libc::c_int = 1;

/// Looks for the `usize` at `wanted` in the first object, which is the program; nothing but 0 lets the loader go on.
#[cfg(all(target_os = "linux", not(target_feature = "crt-static"), not(miri)))]
unsafe extern "C" fn look_at_first(
    object: *mut libc::dl_phdr_info,
    _bytes: libc::size_t,
    wanted: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the loader describes an object that is loaded, by as many headers as it says; `wanted` as above.
    let (base, parts, wanted) = unsafe {
        let object = &*object;
        let parts = core::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into());
        (object.dlpi_addr as usize, parts, *wanted.cast::<usize>())
    };
    let holds = |part: &libc::Elf64_Phdr| {
        part.p_type == libc::PT_LOAD
            && wanted.wrapping_sub(base.wrapping_add(part.p_vaddr as usize)) < part.p_memsz as usize
    };
    if parts.iter().any(holds) { FOUND } else { !FOUND }
}

/// A static program is never unloaded; other systems have no restartable sections.
#[cfg(not(all(target_os = "linux", not(target_feature = "crt-static"), not(miri))))]
pub(crate) fn own_object() {}

#[cfg(all(test, target_os = "linux", not(target_feature = "crt-static"), not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_told_from_its_libraries() {
        assert!(is_in_program((own_object as fn()) as usize));
        // SAFETY: asks for the address of a function that every C library has.
        let library = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"getpid".as_ptr()) };
        assert!(!library.is_null() && !is_in_program(library.addr()));
    }
}
