//! A thread of our own, that the program does not know of.

/// Starts a detached thread with the name `gracealloc`, all signals blocked, free to run on every CPU; false if the system
/// has no thread to give. Allocates (the C library does): only where that may happen.
#[cfg(all(unix, not(miri)))]
pub(crate) fn spawn(main: extern "C" fn(*mut libc::c_void) -> *mut libc::c_void) -> bool {
    // SAFETY: all objects are initialised by the calls that take them first; what they fill is used only after success.
    unsafe {
        let (mut all, mut old) = (core::mem::zeroed::<libc::sigset_t>(), core::mem::zeroed::<libc::sigset_t>());
        let mut attributes = core::mem::zeroed::<libc::pthread_attr_t>();
        let mut thread = core::mem::zeroed::<libc::pthread_t>();
        if libc::pthread_attr_init(&mut attributes) != 0 {
            return false;
        }
        libc::pthread_attr_setdetachstate(&mut attributes, libc::PTHREAD_CREATE_DETACHED);
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut old); // inherited by the new thread
        let started = libc::pthread_create(&mut thread, &attributes, main, core::ptr::null_mut()) == 0;
        libc::pthread_sigmask(libc::SIG_SETMASK, &old, core::ptr::null_mut());
        libc::pthread_attr_destroy(&mut attributes);
        started
    }
}

/// What the new thread does first: its starter's name and CPUs are not for it.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) fn detach_from_starter() {
    // SAFETY: a name of fewer than 16 bytes; the set and its size belong together. A system that refuses leaves both as
    // they were inherited.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, c"gracealloc".as_ptr());
        let all = [u8::MAX; 1024];
        libc::sched_setaffinity(0, all.len(), all.as_ptr().cast());
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
pub(crate) fn detach_from_starter() {}

/// There are other threads here, but none that Miri would let us leave running, or that we could start without the
/// standard library.
#[cfg(not(all(unix, not(miri))))]
pub(crate) fn spawn(main: extern "C" fn(*mut libc::c_void) -> *mut libc::c_void) -> bool {
    let run = move || {
        main(core::ptr::null_mut());
    };
    !cfg!(miri) && std::thread::Builder::new().spawn(run).is_ok()
}

/// Lets others run for a moment.
pub(crate) fn pause() {
    std::thread::yield_now();
}
