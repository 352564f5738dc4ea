//! A thread: where it runs, and the routines it is in.
//!
//! Problem: a signal starts new code on top of the code that it interrupts, and both may be in the middle of a section.
//!
//! Invariants:
//! - a restart goes to the first step of the topmost routine, and only while that routine is armed;
//! - a handler has registers of its own; it shares memory, the user's hand included, with what it interrupts;
//! - a thread whose programs have all returned has left its CPU for good.
//!
//! ```text
//!   Thread ── on: a CPU, or none
//!          └─ contexts: [main, handler]                  a signal pushes one
//!                └─ registers, frames: [free, alloc, pop]     what comes next lies below
//!                                                     └─ at: the step, armed: rseq_cs points here
//! ```

use crate::engine::{Cpu, Flow, Kernel, Model, Program, Routine, Step};
use std::hash::{Hash, Hasher};
use std::ptr;

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Thread<M: Model> {
    pub(crate) on: Option<Cpu>,
    /// The CPUs that this thread's membarrier has still to interrupt, a bit each.
    pub(crate) awaits: u8,
    /// Whether that membarrier restarts sections.
    pub(crate) restarts: bool,
    contexts: Vec<Context<M>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Context<M: Model> {
    pub(crate) registers: M::Registers,
    frames: Vec<Frame<M>>,
}

struct Frame<M: Model> {
    routine: &'static Routine<M>,
    at: u8,
    armed: bool,
}

impl<M: Model> Thread<M> {
    pub(crate) fn new(program: &Program<M>) -> Self {
        Thread { on: None, awaits: 0, restarts: false, contexts: vec![Context::new(program)] }
    }

    pub(crate) fn ended(&self) -> bool {
        self.contexts.is_empty()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.on.is_some() && self.awaits == 0
    }

    /// A handler is not itself interrupted, and a membarrier returns first.
    pub(crate) fn may_take_signal(&self) -> bool {
        self.is_running() && self.contexts.len() == 1
    }

    pub(crate) fn is_in_section(&self) -> bool {
        let mut frames = self.contexts.iter().flat_map(|context| &context.frames);
        frames.any(|frame| frame.armed)
    }

    pub(crate) fn registers(&self) -> impl Iterator<Item = &M::Registers> {
        self.contexts.iter().map(|context| &context.registers)
    }

    pub(crate) fn context(&mut self) -> &mut Context<M> {
        self.contexts.last_mut().expect("has not ended")
    }

    fn top(&self) -> &Frame<M> {
        let frames = self.contexts.last().map(|context| &context.frames);
        frames.and_then(|frames| frames.last()).expect("has not ended")
    }

    fn top_mut(&mut self) -> &mut Frame<M> {
        self.context().frames.last_mut().expect("has not ended")
    }

    pub(crate) fn next(&self) -> &'static Step<M> {
        &self.top().routine.steps[usize::from(self.top().at)]
    }

    pub(crate) fn arm(&mut self) {
        let top = self.top_mut();
        (top.armed, top.at) = (true, top.at + 1);
    }

    /// A signal: its handler runs on top.
    pub(crate) fn enter(&mut self, handler: &Program<M>) {
        self.contexts.push(Context::new(handler));
    }

    /// If inside a section: to its abort handler, which goes back to the store of `rseq_cs`. An abort has cleared it.
    pub(crate) fn abort(&mut self, restarts: bool, kernel: &Kernel) {
        if self.ended() || !self.top().armed || !restarts {
            return;
        }
        let top = self.top_mut();
        (top.armed, top.at) = (false, if kernel.restart_arms { 0 } else { 1 });
        M::forget(&mut self.context().registers);
    }

    pub(crate) fn go(&mut self, flow: &Flow<M>) {
        let top = self.top_mut();
        match flow {
            Flow::Next | Flow::Membarrier | Flow::Fence => top.at += 1,
            Flow::Again => (top.at, top.armed) = (0, false),
            Flow::Return => top.at = top.len(),
            Flow::Call(routine) => {
                top.at += 1;
                self.context().frames.push(Frame::new(routine));
            }
        }
        self.drop_returned();
    }

    /// Drops the routines and contexts that are through; leaves the CPU after the last.
    fn drop_returned(&mut self) {
        while let Some(context) = self.contexts.last_mut() {
            match context.frames.last() {
                None => drop(self.contexts.pop()),
                Some(frame) if frame.at < frame.len() => return,
                Some(_) => {
                    M::forget(&mut context.registers);
                    context.frames.pop();
                }
            }
        }
        self.on = None;
    }

    /// The next step in words.
    pub(crate) fn describe(&self) -> String {
        let (routine, cpu) = (self.top().routine.name, self.on.expect("on a CPU"));
        match self.next() {
            Step::Shared(name, _) => format!("on cpu {cpu}, {routine}: {name}"),
            Step::Arm | Step::Private(_) => unreachable!("private steps have run"),
        }
    }
}

impl<M: Model> Context<M> {
    /// The first routine lies on top; what a routine returns to is the next.
    fn new(program: &Program<M>) -> Self {
        Context { registers: M::Registers::default(), frames: program.iter().rev().copied().map(Frame::new).collect() }
    }
}

impl<M: Model> Frame<M> {
    fn new(routine: &'static Routine<M>) -> Self {
        Frame { routine, at: 0, armed: false }
    }

    fn len(&self) -> u8 {
        self.routine.steps.len() as u8
    }

    /// Routines are statics: the same address is the same routine.
    fn key(&self) -> (*const Routine<M>, u8, bool) {
        (ptr::from_ref(self.routine), self.at, self.armed)
    }
}

impl<M: Model> Clone for Frame<M> {
    fn clone(&self) -> Self {
        Frame { ..*self }
    }
}

impl<M: Model> PartialEq for Frame<M> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<M: Model> Eq for Frame<M> {}

impl<M: Model> Hash for Frame<M> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}
