//! Thread-local words that are reached without a call.
//!
//! In a shared library the compiler reaches a thread-local through `__tls_get_addr`. That is a call on every allocation of the
//! fallback, a longer one after each `dlopen` that brought thread-local storage, and nothing that a signal handler may count
//! on. So these words stand at a fixed distance from the thread pointer, which the linker or the loader fills in ("initial
//! exec"):
//!
//! ```text
//!   general:        call __tls_get_addr -> this module's block, perhaps made now
//!   initial exec:   thread pointer + distance                                       two instructions
//! ```
//!
//! Measured under the C library, a pair of the fallback: 21.9 ns instead of 25.9.
//!
//! Stable Rust has no word for that: the words are made and found in assembly where there are restartable sections and glibc,
//! which keeps room for such words of libraries that come later (build.rs says where). Elsewhere, and with the feature
//! `disable_initial_exec_tls`, they are ordinary constant thread-locals.
//!
//! Invariants: a cell begins as zero, has no destructor, and is usable at any time in a thread's life. They are few: the room
//! that glibc keeps is some hundred bytes.

/// Makes a thread-local `Cell` that begins as zero, with `get`, `set` and `replace`. The symbol is unique in the program.
macro_rules! thread_cell {
    ($(#[$doc:meta])* static $name:ident: $type:ty = $zero:expr, $symbol:literal;) => {
        #[cfg(gracealloc_initial_exec)]
        $(#[$doc])*
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        struct $name;

        #[cfg(gracealloc_initial_exec)]
        core::arch::global_asm!(
            ".pushsection .tbss, \"awT\", @nobits",
            concat!(".globl ", $symbol),
            concat!(".hidden ", $symbol),
            ".balign 8",
            concat!($symbol, ": .zero 8"),
            ".popsection",
        );

        #[cfg(gracealloc_initial_exec)]
        impl core::ops::Deref for $name {
            type Target = core::cell::Cell<$type>;

            #[inline(always)]
            fn deref(&self) -> &Self::Target {
                const _: $type = $zero;
                const { assert!(size_of::<$type>() <= 8 && align_of::<$type>() <= 8) };
                // SAFETY: eight aligned bytes of this thread's own that begin as zero, which is a value of the type; a cell is
                // not shared with other threads, nor is a reference to one.
                unsafe { &*$crate::platform::thread_cell::address!($symbol).cast() }
            }
        }

        #[cfg(not(gracealloc_initial_exec))]
        thread_local! {
            $(#[$doc])*
            static $name: core::cell::Cell<$type> = const { core::cell::Cell::new($zero) };
        }
    };
}

/// The address of this thread's word of that name.
#[cfg(all(gracealloc_initial_exec, target_arch = "x86_64"))]
macro_rules! address {
    ($symbol:literal) => {{
        let word: *const u8;
        // Linkers that know the distance make the load a constant.
        core::arch::asm!(
            concat!("mov {word}, qword ptr [rip + ", $symbol, "@GOTTPOFF]"),
            "add {word}, qword ptr fs:[0]",
            word = out(reg) word,
            options(pure, nomem, nostack),
        );
        word
    }};
}

/// The address of this thread's word of that name.
#[cfg(all(gracealloc_initial_exec, target_arch = "aarch64"))]
macro_rules! address {
    ($symbol:literal) => {{
        let word: *const u8;
        core::arch::asm!(
            concat!("adrp {word}, :gottprel:", $symbol),
            concat!("ldr {word}, [{word}, :gottprel_lo12:", $symbol, "]"),
            "mrs {thread}, tpidr_el0",
            "add {word}, {word}, {thread}",
            word = out(reg) word,
            thread = out(reg) _,
            options(pure, nomem, nostack, preserves_flags),
        );
        word
    }};
}

#[cfg(gracealloc_initial_exec)]
pub(crate) use address;
pub(crate) use thread_cell;

#[cfg(test)]
mod tests {
    thread_cell! {
        /// A word of these tests.
        static WORD: u32 = 0, "gracealloc_test_word";
    }

    #[test]
    fn each_thread_has_its_own_word_and_it_begins_as_zero() {
        assert_eq!(WORD.replace(7), 0);
        std::thread::spawn(|| assert_eq!(WORD.replace(8), 0)).join().unwrap();
        assert_eq!(WORD.get(), 7);
    }
}
