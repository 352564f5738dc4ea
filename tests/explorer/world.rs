//! Virtual CPUs, the threads on them, and every move a scheduler could make next.
//!
//! Problem: restart sections exactly when the kernel does, no more and no less.
//!
//! Invariants:
//! - at most one thread is on a CPU; a thread off its CPU takes no step, and is not inside a section;
//! - a bystander has a CPU of its own beyond the machine's, and is never preempted, moved or signalled. It runs no
//!   section and asks for no CPU number, so all that could do to it is delay it, and every delay is tried anyway;
//! - a thread that is preempted, migrated, signalled or interrupted by a membarrier inside a section starts that
//!   section again; stores it has made stay made;
//! - a membarrier returns when every CPU has been interrupted once since its call, in any order, with steps of
//!   others between. A handler is not itself signalled: one level of nesting.
//!
//! ```text
//!   cpu 0   [pop: load count] ── preempt ──> thread 0 off, at pop's first step
//!   cpu 1   [take: swap, membarrier .. interrupt 1 .. interrupt 0 .., read count]
//! ```

use crate::engine::{ANY, Bounds, Core, Cpu, Flow, Machine, Model, Program, Run, Step, When};
use crate::thread::Thread;

/// What the scheduler can choose; the first number is the thread.
#[derive(Clone, Copy)]
pub(crate) enum Move {
    Step(usize),
    Preempt(usize),
    Resume(usize, Cpu),
    Migrate(usize, Cpu),
    Signal(usize),
    /// The thread's membarrier reaches the CPU.
    Interrupt(usize, Cpu),
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct World<M: Model> {
    pub(crate) memory: M,
    threads: Vec<Thread<M>>,
    left: Bounds,
}

impl<M: Model> World<M> {
    /// Every thread at the start of its program, the first ones on the CPUs, the others waiting for one.
    pub(crate) fn new(memory: M, programs: &[Program<M>], cpus: Cpu, left: Bounds) -> Self {
        let mut world = World { memory, threads: programs.iter().map(Thread::new).collect(), left };
        for t in 0..programs.len() {
            world.threads[t].on = (0..cpus).nth(t);
            world.run_private(t);
        }
        world
    }

    /// Threads without sections, on CPUs that no scheduler touches.
    pub(crate) fn with_bystanders(mut self, programs: &[Program<M>], cpus: Cpu) -> Self {
        for (cpu, program) in (cpus..).zip(programs) {
            let mut thread = Thread::new(program);
            thread.on = Some(cpu);
            self.threads.push(thread);
            self.run_private(self.threads.len() - 1);
        }
        self
    }

    pub(crate) fn finished(&self) -> bool {
        self.threads.iter().all(Thread::ended)
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        let registers: Vec<_> = self.threads.iter().flat_map(Thread::registers).collect();
        let when = match self.finished() {
            true => When::Finished,
            _ if self.threads.iter().any(Thread::is_in_section) => When::Midway,
            _ => When::Settled,
        };
        self.memory.check(&registers, when)
    }

    pub(crate) fn moves(&self, machine: &Machine<M>) -> Vec<Move> {
        let mut moves = Vec::new();
        for (t, thread) in self.threads.iter().enumerate() {
            let idle = (0..machine.cpus).filter(|&cpu| self.is_idle(cpu));
            let awaited = (0..machine.cpus).filter(|cpu| thread.awaits & 1 << cpu != 0);
            moves.extend(awaited.map(|cpu| Move::Interrupt(t, cpu)));
            match thread.on {
                _ if thread.ended() => {}
                None => moves.extend(idle.map(|cpu| Move::Resume(t, cpu))),
                Some(cpu) => {
                    if thread.is_running() {
                        moves.push(Move::Step(t));
                    }
                    if cpu >= machine.cpus {
                        continue; // a bystander
                    }
                    if self.left.signals > 0 && thread.may_take_signal() {
                        moves.push(Move::Signal(t));
                    }
                    if self.left.preemptions > 0 {
                        moves.push(Move::Preempt(t));
                    }
                    if self.left.migrations > 0 {
                        moves.extend(idle.map(|cpu| Move::Migrate(t, cpu)));
                    }
                }
            }
        }
        moves
    }

    pub(crate) fn make(&mut self, machine: &Machine<M>, chosen: Move) {
        let kernel = &machine.kernel;
        match chosen {
            Move::Step(t) => self.step(machine, t),
            Move::Preempt(t) => {
                spend(&mut self.left.preemptions);
                self.threads[t].abort(kernel.preemption_restarts, kernel);
                self.leave_cpu(t, None);
            }
            Move::Resume(t, cpu) => self.threads[t].on = Some(cpu),
            Move::Migrate(t, cpu) => {
                spend(&mut self.left.migrations);
                self.threads[t].abort(kernel.migration_restarts, kernel);
                self.leave_cpu(t, Some(cpu));
            }
            Move::Signal(t) => {
                spend(&mut self.left.signals);
                self.threads[t].abort(kernel.signal_restarts, kernel);
                self.threads[t].enter(&machine.handler);
            }
            Move::Interrupt(t, cpu) => {
                self.threads[t].awaits &= !(1 << cpu);
                let restarts = self.threads[t].restarts;
                let hit = self.threads.iter_mut().filter(|thread| thread.on == Some(cpu));
                hit.for_each(|thread| thread.abort(restarts, kernel));
                self.memory.interrupted(cpu);
            }
        }
        (0..self.threads.len()).for_each(|t| self.run_private(t));
    }

    fn leave_cpu(&mut self, t: usize, next: Option<Cpu>) {
        let left = std::mem::replace(&mut self.threads[t].on, next);
        left.into_iter().for_each(|cpu| self.memory.interrupted(cpu));
    }

    fn is_idle(&self, cpu: Cpu) -> bool {
        self.threads.iter().all(|thread| thread.on != Some(cpu))
    }

    fn step(&mut self, machine: &Machine<M>, t: usize) {
        let Step::Shared(_, run) = self.threads[t].next() else {
            unreachable!("private steps have run");
        };
        let flow = self.run(t, *run);
        if matches!(flow, Flow::Membarrier | Flow::Fence) {
            self.threads[t].awaits = (1 << machine.cpus) - 1;
            self.threads[t].restarts = matches!(flow, Flow::Membarrier);
        }
    }

    /// Runs a step and goes where it says.
    fn run(&mut self, t: usize, run: Run<M>) -> Flow<M> {
        let thread = &mut self.threads[t];
        let cpu = thread.on.expect("on a CPU");
        let flow =
            run(&mut Core { memory: &mut self.memory, registers: &mut thread.context().registers, thread: t, cpu });
        thread.go(&flow);
        flow
    }

    /// Goes on to the next step that others could notice.
    fn run_private(&mut self, t: usize) {
        while self.threads[t].is_running() {
            match self.threads[t].next() {
                Step::Shared(..) => return,
                Step::Private(run) => drop(self.run(t, *run)),
                Step::Arm => self.threads[t].arm(),
            }
        }
    }

    /// The move in words, before it is made.
    pub(crate) fn describe(&self, chosen: Move) -> String {
        match chosen {
            Move::Step(t) => format!("thread {t} {}", self.threads[t].describe()),
            Move::Preempt(t) => format!("thread {t} is preempted"),
            Move::Resume(t, cpu) => format!("thread {t} runs on cpu {cpu}"),
            Move::Migrate(t, cpu) => format!("thread {t} is moved to cpu {cpu}"),
            Move::Signal(t) => format!("thread {t} takes a signal"),
            Move::Interrupt(t, cpu) => format!("the membarrier of thread {t} interrupts cpu {cpu}"),
        }
    }
}

fn spend(left: &mut u8) {
    if *left != ANY {
        *left -= 1;
    }
}
