//! What a model is written in: steps, sections, and the promises a kernel makes about them.
//!
//! Problem: say precisely what may happen between two instructions, and nothing about what the instructions are for.
//!
//! Invariants:
//! - a shared step is one access to what others write, and anything may happen before and after it;
//! - a private step, and `Arm`, nobody else can tell from having happened a little earlier: they run as soon as their
//!   thread is on a CPU and comes to them. That leaves out no outcome, only states that differ in nothing;
//! - a section is a routine whose first step is `Arm`; it ends where the routine returns;
//! - all that a section loaded lies in registers that `forget` clears: a restart finds nothing of the last attempt.
//!
//! ```text
//!   static POP: Routine = "pop" [ Arm, Shared("read cpu", ..), .., Shared("commit: count - 1", ..) ]
//!                                  └── abort: back to here          after it the routine returns: no section
//! ```

use std::hash::Hash;

pub(crate) type Cpu = u8;

/// What a model supplies: the memory itself, the registers that its steps use, and what must hold.
pub(crate) trait Model: Clone + Eq + Hash + 'static {
    type Registers: Clone + Eq + Hash + Default;

    /// Drops what a section loaded: it ended or starts again, and nothing may depend on it.
    fn forget(registers: &mut Self::Registers);

    /// The kernel was entered on this CPU, to switch threads or by a membarrier's interrupt: stores made there are seen
    /// by all from here on, and loads are made after it. A model without store buffers has nothing to do.
    fn interrupted(&mut self, _cpu: Cpu) {}

    /// Tells what is broken. `registers` are those of every context of every thread.
    fn check(&self, registers: &[&Self::Registers], when: When) -> Result<(), String>;
}

/// The moment at which a check looks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Some thread is inside a section.
    Midway,
    /// No thread is inside a section.
    Settled,
    /// Every thread has ended.
    Finished,
}

/// What a step works on.
pub(crate) struct Core<'a, M: Model> {
    pub(crate) memory: &'a mut M,
    pub(crate) registers: &'a mut M::Registers,
    pub(crate) thread: usize,
    pub(crate) cpu: Cpu,
}

/// Where a thread goes after a step.
pub(crate) enum Flow<M: Model> {
    Next,
    /// To the first step of this routine.
    Again,
    Call(&'static Routine<M>),
    Return,
    /// `membarrier(PRIVATE_EXPEDITED_RSEQ)`, then the next step.
    Membarrier,
    /// `membarrier(PRIVATE_EXPEDITED)`: sections go on.
    Fence,
}

pub(crate) type Run<M> = fn(&mut Core<M>) -> Flow<M>;

pub(crate) enum Step<M: Model> {
    /// Stores `rseq_cs`: from here to its return the routine is a section.
    Arm,
    /// An access to shared memory, or a system call.
    Shared(&'static str, Run<M>),
    /// Registers, this CPU's number, the user's own hand, and what never changes.
    Private(Run<M>),
}

/// A list of steps; it returns after the last.
pub(crate) struct Routine<M: Model> {
    pub(crate) name: &'static str,
    pub(crate) steps: &'static [Step<M>],
}

/// Routines that a thread or a handler runs one after the other.
pub(crate) type Program<M> = Vec<&'static Routine<M>>;

/// The CPUs, the code a signal runs, and which of its promises the kernel keeps.
pub(crate) struct Machine<M: Model> {
    pub(crate) cpus: Cpu,
    pub(crate) handler: Program<M>,
    pub(crate) kernel: Kernel,
}

#[derive(Clone, Copy)]
pub(crate) struct Kernel {
    pub(crate) preemption_restarts: bool,
    pub(crate) migration_restarts: bool,
    pub(crate) signal_restarts: bool,
    /// Not the kernel's promise but its counterpart: an abort clears `rseq_cs`, so every restart stores it again.
    pub(crate) restart_arms: bool,
}

impl Kernel {
    pub(crate) const AS_PROMISED: Kernel =
        Kernel { preemption_restarts: true, migration_restarts: true, signal_restarts: true, restart_arms: true };
}

/// What the scheduler may still do; `ANY` is never used up.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Bounds {
    pub(crate) preemptions: u8,
    pub(crate) migrations: u8,
    pub(crate) signals: u8,
}

pub(crate) const ANY: u8 = u8::MAX;

impl Bounds {
    /// The states seen close the loop of every preemption and migration; a handler changes something each time.
    pub(crate) const NO_SIGNALS: Bounds = Bounds { preemptions: ANY, migrations: ANY, signals: 0 };
}
