//! An executable: its functions, its restartable sections, its instructions.

use iced_x86::{Code, Decoder, DecoderOptions, Instruction};
use object::{Object, ObjectSection, ObjectSymbol};
use std::collections::HashMap;

/// The longest an instruction can be.
const LONGEST: u64 = 15;

/// An executable as it lies in memory.
pub(crate) struct Image<'data> {
    file: object::File<'data>,
    /// What the loader writes, by address: the addends of relative relocations.
    relocated: HashMap<u64, u64>,
}

/// The kernel's `struct rseq_cs`.
pub(crate) struct Descriptor {
    pub(crate) address: u64,
    pub(crate) version_and_flags: u64,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) abort: u64,
}

impl<'data> Image<'data> {
    pub(crate) fn parse(bytes: &'data [u8]) -> Self {
        let file = object::File::parse(bytes).unwrap();
        let relocated = file.dynamic_relocations().into_iter().flatten();
        let relocated = relocated.map(|(at, relocation)| (at, relocation.addend() as u64)).collect();
        Self { file, relocated }
    }

    /// The addresses of a function, first and behind the last.
    pub(crate) fn function(&self, name: &str) -> std::ops::Range<u64> {
        let symbol = self.file.symbols().find(|symbol| symbol.name() == Ok(name)).expect(name);
        symbol.address()..symbol.address() + symbol.size()
    }

    /// At most `n` bytes at an address.
    fn bytes(&self, address: u64, n: u64) -> &'data [u8] {
        let holds = |section: &object::Section<'data, '_>| {
            (section.address()..section.address() + section.size()).contains(&address)
        };
        let section = self.file.sections().find(holds).expect("an address of the program");
        let left = section.address() + section.size() - address;
        section.data_range(address, n.min(left)).unwrap().unwrap()
    }

    pub(crate) fn instruction(&self, address: u64) -> Instruction {
        let code = self.bytes(address, LONGEST);
        let decoded = Decoder::with_ip(64, code, address, DecoderOptions::NONE).decode();
        assert_ne!(decoded.code(), Code::INVALID, "at {address:#x}");
        decoded
    }

    pub(crate) fn u32(&self, address: u64) -> u32 {
        u32::from_le_bytes(self.bytes(address, 4).try_into().unwrap())
    }

    fn u64(&self, address: u64) -> u64 {
        let plain = || u64::from_le_bytes(self.bytes(address, 8).try_into().unwrap());
        self.relocated.get(&address).copied().unwrap_or_else(plain)
    }

    /// All restartable sections of the program.
    pub(crate) fn descriptors(&self) -> Vec<Descriptor> {
        let table = self.file.section_by_name("__rseq_cs").expect("restartable sections");
        let (first, end) = (table.address(), table.address() + table.size());
        (first..end).step_by(32).map(|address| self.descriptor(address)).collect()
    }

    fn descriptor(&self, address: u64) -> Descriptor {
        let start = self.u64(address + 8);
        Descriptor {
            address,
            version_and_flags: self.u64(address),
            start,
            end: start + self.u64(address + 16),
            abort: self.u64(address + 24),
        }
    }
}
