//! A variable for a C library to find, unless the program has one of that name.

/// Defines a weak `const char *` that points to a text, where the object format and this file know how; elsewhere nothing,
/// and the library goes by its defaults.
///
/// Two weak definitions are not an error; linkers take the first, and a crate's objects come before those of what it
/// depends on. If one decided otherwise, or the program's own were taken, nothing would be lost but what the text asks for.
macro_rules! weak_text {
    ($symbol:literal, $text:literal) => {
        #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
        core::arch::global_asm!(
            concat!(".pushsection .rodata.", $symbol, ",\"a\""),
            "77:",
            concat!(".asciz \"", $text, "\""),
            ".popsection",
            concat!(".pushsection .data.rel.ro.", $symbol, ",\"aw\""),
            ".balign 8",
            concat!(".weak ", $symbol),
            concat!(".type ", $symbol, ", %object"),
            concat!(".size ", $symbol, ", 8"),
            concat!($symbol, ":"),
            ".quad 77b",
            ".popsection",
        );
    };
}

pub(crate) use weak_text;
