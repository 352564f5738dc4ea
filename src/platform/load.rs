//! Runs a function when the program, or the library that this crate is part of, is loaded: before `main`, and so, as a
//! rule, before there is a second thread.

/// Has the `extern "C" fn()` that is named run at load time, where the object format has a list of such functions; what
/// it does has to be done later too, where there is none.
macro_rules! at_load {
    ($function:path) => {
        #[cfg(all(any(target_os = "linux", target_os = "android", target_os = "freebsd"), not(miri)))]
        #[used]
        #[unsafe(link_section = ".init_array")]
        static AT_LOAD: extern "C" fn() = $function;
        #[cfg(all(target_vendor = "apple", not(miri)))]
        #[used]
        #[unsafe(link_section = "__DATA,__mod_init_func")]
        static AT_LOAD: extern "C" fn() = $function;
        const _: extern "C" fn() = $function; // used everywhere, as far as the compiler is concerned
    };
}

pub(crate) use at_load;
