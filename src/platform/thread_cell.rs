//! Thread-local words that neither call nor allocate to be reached.
//!
//! In a shared library the compiler reaches a thread-local through `__tls_get_addr`. After a `dlopen` that brought
//! thread-local storage that call may *allocate*; an allocator that serves the loader must not do so on its own way: it would
//! meet itself there, without end. So these words stand at a fixed distance from the thread pointer, which the linker or the
//! loader fills in ("initial exec"):
//!
//! ```text
//!   general:        call __tls_get_addr -> this module's block, perhaps made now
//!   initial exec:   thread pointer + distance                                       two instructions
//! ```
//!
//! Stable Rust has no word for that: the words are made and found in assembly where there are restartable sections. Elsewhere,
//! and with the feature `disable_initial_exec_tls`, they are ordinary constant thread-locals.
//!
//! Invariants: a cell begins as zero, has no destructor, and is usable at any time in a thread's life. They are few: what the
//! loader keeps for libraries that come later is some hundred bytes.

/// Makes a thread-local `Cell` that begins as zero, with `get`, `set` and `replace`. The symbol is unique in the program.
macro_rules! thread_cell {
    ($(#[$doc:meta])* static $name:ident: $type:ty = $zero:expr, $symbol:literal;) => {
        #[cfg(all(gracealloc_rseq, not(feature = "disable_initial_exec_tls")))]
        $(#[$doc])*
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        struct $name;

        #[cfg(all(gracealloc_rseq, not(feature = "disable_initial_exec_tls")))]
        core::arch::global_asm!(
            ".pushsection .tbss, \"awT\", @nobits",
            concat!(".globl ", $symbol),
            concat!(".hidden ", $symbol),
            ".balign 8",
            concat!($symbol, ": .zero 8"),
            ".popsection",
        );

        #[cfg(all(gracealloc_rseq, not(feature = "disable_initial_exec_tls")))]
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

        #[cfg(not(all(gracealloc_rseq, not(feature = "disable_initial_exec_tls"))))]
        thread_local! {
            $(#[$doc])*
            static $name: core::cell::Cell<$type> = const { core::cell::Cell::new($zero) };
        }
    };
}

/// The address of this thread's word of that name.
#[cfg(all(gracealloc_rseq, not(feature = "disable_initial_exec_tls"), target_arch = "x86_64"))]
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
#[cfg(all(gracealloc_rseq, not(feature = "disable_initial_exec_tls"), target_arch = "aarch64"))]
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

#[cfg(all(gracealloc_rseq, not(feature = "disable_initial_exec_tls")))]
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
