//! The worker: one thread that does what nobody else came by to do.
//!
//! ```text
//!   every drain delay    seal what stands in open slots           (pages that fill by themselves need no worker)
//!                        put marked objects into pages; fill the reserve; let memory decay
//!                        take back what is due: of idle CPUs only, a busy one takes back its own
//!   then, or hurried     push grace periods on; run destructors; say when a grace period stalls
//!   sleep                till the next drain while anything waits, else up to a second
//! ```
//!
//! Under load callers push grace periods on themselves: a worker alone competes with them for a CPU, and grace periods
//! would take scheduler slices. Readers cannot, and hurry the worker instead, many times in a drain delay: what costs a
//! membarrier is not done for them.
//!
//! It is started and woken in preemptible context only. Atomic callers leave what they have; it looks once a second.

use super::{budget, cells, drops, pages};
use crate::platform::event::Event;
use crate::platform::fatal::report;
use crate::platform::{clock, slots, thread};
use crate::slow_path::SlowPath;
use crate::{cache, context, grace, slab, tunables};
use core::ffi::c_void;
use core::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
    fence,
};
use core::time::Duration;

/// There is a worker, or somebody starts it.
static RUNS: AtomicBool = AtomicBool::new(false);
/// It sleeps its long sleep.
static IDLE: AtomicBool = AtomicBool::new(false);
/// An atomic caller has left something.
static WANTED: AtomicBool = AtomicBool::new(false);
/// There is something to do.
static WORK: Event = Event::new();

/// The longest sleep, and the shortest.
const IDLE_SLEEP: Duration = Duration::from_secs(1);
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);
/// In every so many drains all slots are looked at, also those that nobody noted as open.
const LOOK_EVERYWHERE: u32 = 100;
/// Steps of grace periods in one pass, at most: with no reader in the way two of them end one.
const STEPS: u32 = 8;

/// Makes sure that a worker looks soon. The caller may block and holds no lock of ours.
pub(crate) fn wake() {
    WANTED.store(false, Relaxed);
    if !RUNS.load(Relaxed) && tunables::WORKER.load(Relaxed) && !RUNS.swap(true, AcqRel) {
        if !thread::spawn(main) {
            RUNS.store(false, Release); // the next caller tries again
        }
    // The fence pairs with the one in `main`: either this sees an idle worker, or the worker sees what the caller has left.
    } else if is_idle() && IDLE.swap(false, SeqCst) {
        WORK.signal();
    }
}

fn is_idle() -> bool {
    fence(SeqCst);
    IDLE.load(Relaxed)
}

/// For atomic callers: somebody who may is to [`wake`] the worker.
pub(crate) fn want() {
    if !WANTED.load(Relaxed) {
        WANTED.store(true, Relaxed);
    }
}

/// Whether an atomic caller has left something.
pub(crate) fn is_wanted() -> bool {
    WANTED.load(Relaxed)
}

/// Makes it look now; false if there is none.
pub(crate) fn hurry() -> bool {
    wake();
    if WORK.has_sleepers() {
        WORK.signal();
    }
    runs()
}

/// Whether there is a worker.
pub(crate) fn runs() -> bool {
    RUNS.load(Relaxed)
}

extern "C" fn main(_: *mut c_void) -> *mut c_void {
    thread::detach_from_starter();
    let mut drains = Drains { last: 0, count: 0 };
    loop {
        let seen = WORK.now();
        if pass(&mut drains) {
            WORK.wait(seen, drains.time_left().max(SHORTEST_SLEEP));
            continue;
        }
        IDLE.store(true, SeqCst);
        fence(SeqCst); // and then look once more: pairs with `wake`, before which the caller has left what it has
        if !super::is_pending() {
            WORK.wait(seen, IDLE_SLEEP);
            drains.count = 0; // the next one looks everywhere
        }
        IDLE.store(false, SeqCst);
    }
}

/// The worker's own: when it drained last, in nanoseconds of the clock, and how often it has.
struct Drains {
    last: u64,
    count: u32,
}

impl Drains {
    /// Until the next one is due.
    fn time_left(&self) -> Duration {
        let since = Duration::from_nanos(clock::now_ns().saturating_sub(self.last));
        Duration::from_millis(tunables::DRAIN_MS.load(Relaxed)).saturating_sub(since)
    }

    fn run_if_due(&mut self) {
        if self.time_left().is_zero() {
            maintain(self.count.is_multiple_of(LOOK_EVERYWHERE));
            take_back();
            self.count = self.count.wrapping_add(1);
            self.last = clock::now_ns();
        }
    }
}

/// Does what there is to do; returns whether something still waits.
fn pass(drains: &mut Drains) -> bool {
    drains.run_if_due();
    push_on();
    drops::run();
    report_stall();
    super::is_pending()
}

/// What takes locks: open pages, marks, the reserve, decay.
pub(super) fn maintain(everywhere: bool) {
    let slow = SlowPath::enter();
    budget::look(&slow); // for atomic callers, who cannot
    let open = (0..slots::cells()).filter(|&cell| cells::all()[cell as usize].open.swap(false, Acquire) || everywhere);
    pages::drain(open, false);
    if slab::marks::DEFERRED.is_pending() {
        pages::collect_marked(&slow);
    }
    cache::passing(&slow);
}

/// Pushes grace periods on, as long as that gets anywhere.
fn push_on() {
    for _ in 0..STEPS {
        let ended = grace::ended();
        // Other people's functions run in here. One that panics has said so; the worker goes on.
        let _ = std::panic::catch_unwind(|| {
            grace::step();
            grace::step();
        });
        if grace::ended() == ended {
            break;
        }
    }
}

/// Takes back the pages of CPUs that have not sealed one since the last drain, and large objects.
fn take_back() {
    let slow = SlowPath::enter();
    for cell in cells::all() {
        let sealed = cell.sealed.load(Relaxed);
        if cell.seen.swap(sealed, Relaxed) == sealed {
            pages::ripen(cell, usize::MAX, &slow);
        }
    }
    super::large::ripen(&slow);
}

/// Stall reports so far, and the periods that the running grace period had been waiting for at the last one.
pub(super) static REPORTS: AtomicU64 = AtomicU64::new(0);
static REPORTED: AtomicU64 = AtomicU64::new(0);

/// Says so on standard error when a grace period has been running for another report period. Also for callers that push on
/// where there is no worker.
pub(crate) fn report_stall() {
    let Some(stall) = grace::stalled() else { return REPORTED.store(0, Relaxed) };
    let (age, period) = (stall.age.as_millis() as u64, tunables::STALL_REPORT_MS.load(Relaxed));
    let reports = age / period.max(1);
    if reports > REPORTED.swap(reports, Relaxed) {
        REPORTS.fetch_add(1, Relaxed);
        let _section = context::atomic_section();
        match stall {
            grace::Stall { domain, readers: Some(n), .. } => {
                report(format_args!("a grace period has been waiting for {age} ms for {n} readers of {domain}"));
            }
            grace::Stall { domain, .. } => {
                report(format_args!("a grace period has been waiting for {age} ms for readers of {domain}"));
            }
        }
    }
}

/// In the child of a fork: there is no worker; the next slow path starts one if something waits.
pub(super) fn restart() {
    RUNS.store(false, Relaxed);
    IDLE.store(false, Relaxed);
    WORK.restart();
    if super::is_pending() {
        want(); // a child that inherits nothing to do needs no thread of ours
    }
}
