//! Counts of readers by parity: the memory that readers and grace periods share, and what must hold of it.
//!
//! Problem: a reader writes two words of its CPU with plain instructions, a grace period adds up the words of all CPUs one
//! after the other, and between the two stand caches and store buffers.
//!
//! Invariants, at every state:
//! - an object that has been freed is in nobody's hand: no reader's, no guard's that is handed over, and no CPU's whose reads
//!   are still under way behind the count of leaving;
//!
//! and at the end:
//! - under each parity as many have left as have entered.
//!
//! ```text
//!   records   cpu 0: parity 1, entered [2 0], left [1 0]     cpu 1: 0, closed     shared: 1, [1 0], [1 0]
//!   hardware  cpu 0: buffered [1 0]  entered, and nobody else sees it yet
//!                    ahead           a load made before the section that it stands behind
//!                    late            loads that are not over when `left` is seen
//! ```
//!
//! The hardware is weaker than any (x86_64 has only the first of the three, and would keep both counts in order: see `in_order`),
//! but for one thing: whoever passes a fence, or through the kernel, has it all behind.

use crate::case::Subject;
use crate::engine::{Core, Cpu, Model, When};

/// 1 or 2; 0 is no parity: closed.
pub(crate) type Parity = u8;

pub(crate) type CountCore<'a> = Core<'a, Counts>;

/// The seeded mistakes of readers and of their grace periods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Bug {
    None,
    // Readers.
    ParityOutsideTheSection,
    NoSecondLook,
    LeftUnderTheCurrentParity,
    LeftOnClosedRecordForgotten,
    KeptUnderAYoungerGuard,
    HandlerContinues,
    // The driver.
    NoFirstFence,
    FlipBeforeBegin,
    OneRecordNotFlipped,
    NoSettle,
    FenceForRestart,
    EnteredBeforeLeft,
    OneRecordForgotten,
    SharedRecordForgotten,
    LiveParityTested,
    NoLastFence,
    // The writer.
    PositionTrustsTheRunning,
    // Who opens records.
    OpenedWithoutFence,
    OpenedWithoutLock,
    OpenedUnderTheFirstParity,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Counts {
    pub(crate) bug: Bug,
    /// One for each CPU, and the shared one behind them.
    pub(crate) records: Vec<Record>,
    pub(crate) hardware: Vec<Hardware>,
    /// CPUs' records are open, or about to be.
    pub(crate) open: bool,
    /// Somebody opens records in this case: only then does it matter when the driver has its lock.
    pub(crate) opens: bool,
    /// Loads are in order, and stores after the loads in front of them, as on x86_64: the driver has no fence but the restart.
    pub(crate) in_order: bool,
    /// The driver's lock.
    pub(crate) locked: bool,
    pub(crate) sequence: u8,
    pub(crate) demand: u8,
    pub(crate) linked: bool,
    pub(crate) freed: bool,
    /// A guard on its way to another thread, with the object.
    pub(crate) handed: Option<(Parity, bool)>,
}

#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Record {
    pub(crate) parity: Parity,
    pub(crate) entered: [u8; 2],
    pub(crate) left: [u8; 2],
}

/// What a CPU has not shown to others yet, and what it has looked at too early.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Hardware {
    pub(crate) buffered: [u8; 2],
    pub(crate) ahead: Option<bool>,
    pub(crate) late: bool,
}

#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Registers {
    // What a section loaded.
    pub(crate) loaded: Parity,
    // What outlives it.
    pub(crate) done: bool,
    /// A mutant's parity, from before the section.
    pub(crate) outside: Parity,
    /// The parities of the guards in hand.
    pub(crate) guards: Vec<Parity>,
    pub(crate) has_object: bool,
    /// Of a loop over all records.
    pub(crate) at: u8,
    /// What is waited for, or shown.
    pub(crate) parity: Parity,
    pub(crate) left: u8,
    pub(crate) entered: u8,
    /// The writer's position.
    pub(crate) position: u8,
}

pub(crate) fn other(parity: Parity) -> Parity {
    3 - parity
}

pub(crate) fn index(parity: Parity) -> usize {
    usize::from(parity) - 1
}

impl Counts {
    /// Open records on so many CPUs, and no reader yet.
    pub(crate) fn new(cpus: usize) -> Self {
        Counts {
            bug: Bug::None,
            records: vec![Record { parity: 1, ..Record::default() }; cpus + 1],
            hardware: vec![Hardware::default(); cpus],
            open: true,
            opens: false,
            in_order: false,
            locked: false,
            sequence: 0,
            demand: 0,
            linked: true,
            freed: false,
            handed: None,
        }
    }

    /// The records of CPUs are closed, and somebody will open them.
    pub(crate) fn closed(mut self) -> Self {
        let cpus = self.hardware.len();
        self.records[..cpus].iter_mut().for_each(|record| record.parity = 0);
        (self.open, self.opens) = (false, true);
        self
    }

    /// Somebody else wants a grace period: the writer's own may be the one after.
    pub(crate) fn after_another(mut self) -> Self {
        self.demand = 2;
        self
    }

    pub(crate) fn shared(&self) -> usize {
        self.records.len() - 1
    }

    /// The stores of a CPU are seen, and its reads are over.
    pub(crate) fn release(&mut self, cpu: Cpu) {
        let Some(hardware) = self.hardware.get_mut(usize::from(cpu)) else { return };
        let entered = &mut self.records[usize::from(cpu)].entered;
        entered.iter_mut().zip(&hardware.buffered).for_each(|(count, more)| *count += more);
        (hardware.buffered, hardware.late) = ([0; 2], false);
    }

    /// A full fence on a CPU.
    pub(crate) fn fence(&mut self, cpu: Cpu) {
        self.release(cpu);
        if let Some(hardware) = self.hardware.get_mut(usize::from(cpu)) {
            hardware.ahead = None;
        }
    }

    fn check_sums(&self) -> Result<(), String> {
        for n in 0..2 {
            let entered: u8 = self.records.iter().map(|record| record.entered[n]).sum();
            let buffered: u8 = self.hardware.iter().map(|hardware| hardware.buffered[n]).sum();
            let left: u8 = self.records.iter().map(|record| record.left[n]).sum();
            if entered + buffered != left {
                return Err(format!("{} entered and {left} left at the end", entered + buffered));
            }
        }
        Ok(())
    }
}

impl Model for Counts {
    type Registers = Registers;

    fn forget(registers: &mut Registers) {
        registers.loaded = 0;
    }

    fn interrupted(&mut self, cpu: Cpu) {
        self.fence(cpu);
    }

    fn check(&self, registers: &[&Registers], when: When) -> Result<(), String> {
        let in_hand = registers.iter().any(|registers| registers.has_object);
        let late = self.hardware.iter().any(|hardware| hardware.late);
        if self.freed && (in_hand || late || self.handed.is_some_and(|(_, has_object)| has_object)) {
            return Err("the object is free while a reader has it".into());
        }
        if when == When::Finished { self.check_sums() } else { Ok(()) }
    }
}

impl Subject for Counts {
    type Bug = Bug;

    fn cpus(&self) -> Cpu {
        self.hardware.len() as Cpu
    }

    fn with_bug(&self, bug: Bug) -> Self {
        Counts { bug, ..self.clone() }
    }

    fn kernel(bug: Bug) -> crate::engine::Kernel {
        crate::engine::Kernel { signal_restarts: bug != Bug::HandlerContinues, ..crate::engine::Kernel::AS_PROMISED }
    }
}
