//! A stand-in for the deferring half of gracealloc until that exists: one list behind a spin lock, grace periods by
//! crossbeam's own `defer`. It goes when the real one comes.
//!
//! `SHIM_BUG` seeds a mistake, to see that the programs notice: `early` frees at once, `budget` knows no bound, `wait`
//! lets readers and atomic callers wait too, `lost` forgets every 1000th object.

#![allow(missing_docs, clippy::missing_safety_doc, clippy::missing_panics_doc, clippy::must_use_candidate)]

use std::alloc::{Layout, dealloc};
use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};
use std::{mem, ptr, thread};

use crossbeam_epoch as epoch;
pub use gracealloc::*;

use crate::Fixed;

enum Item {
    Memory(usize, Layout, bool),
    Drop(Box<dyn FnOnce() + Send>),
}

struct State {
    waiting: Option<Fixed<Item>>,
    ripe: Vec<Item>,
    batch: Option<(Arc<AtomicBool>, Vec<Item>)>,
}

struct Lock<T>(AtomicBool, UnsafeCell<T>);
// SAFETY: a lock.
unsafe impl<T> Sync for Lock<T> {}

fn mask(how: i32, set: &mut libc::sigset_t) {
    let new = *set;
    // SAFETY: valid sets.
    unsafe { libc::pthread_sigmask(how, &raw const new, set) };
}

impl<T> Lock<T> {
    fn raw(&self) {
        while self.0.swap(true, SeqCst) {
            thread::yield_now();
        }
    }
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: filled at once.
        let mut set: libc::sigset_t = unsafe { mem::zeroed() };
        // SAFETY: valid.
        unsafe { libc::sigfillset(&raw mut set) };
        mask(libc::SIG_BLOCK, &mut set);
        self.raw();
        // SAFETY: locked.
        let result = f(unsafe { &mut *self.1.get() });
        self.0.store(false, SeqCst);
        mask(libc::SIG_SETMASK, &mut set);
        result
    }
}

static STATE: Lock<State> =
    Lock(AtomicBool::new(false), UnsafeCell::new(State { waiting: None, ripe: Vec::new(), batch: None }));
static DRIVER: Lock<()> = Lock(AtomicBool::new(false), UnsafeCell::new(()));

macro_rules! counters { ($($name:ident = $value:expr;)*) => { $(static $name: AtomicU64 = AtomicU64::new($value);)* } }
counters! {
    OBJECTS = 0; BYTES = 0; PEAK = 0; MARKED_OBJECTS = 0; MARKED_BYTES = 0; MARKS = 0; WAITS = 0; WAIT_NS = 0; REPORTS = 0;
    DROPS = 0; GPS = 0; CALLS = 0;
    BUDGET = 1 << 30; WAIT_LIMIT = 100_000_000; DRAIN = 10_000_000; STALL = 10_000_000_000;
}
static WORKER: AtomicBool = AtomicBool::new(true);
static STARTED: AtomicBool = AtomicBool::new(false);
static ATFORK: AtomicBool = AtomicBool::new(false);

fn bug(name: &str) -> bool {
    static BUG: std::sync::OnceLock<&'static str> = std::sync::OnceLock::new();
    *BUG.get_or_init(|| std::env::var("SHIM_BUG").unwrap_or_default().leak()) == name
}

fn push(item: Item) {
    STATE.with(|state| {
        state.waiting.get_or_insert_with(|| Fixed::new(1 << 24).expect("address space")).push(item);
    });
}

extern "C" fn prepare() {
    DRIVER.raw();
    STATE.raw();
}
extern "C" fn parent() {
    STATE.0.store(false, SeqCst);
    DRIVER.0.store(false, SeqCst);
}
extern "C" fn child() {
    STARTED.store(false, SeqCst);
    parent();
}

fn start_worker() {
    if !ATFORK.swap(true, SeqCst) {
        // SAFETY: valid handlers.
        unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
    }
    if WORKER.load(SeqCst) && !STARTED.swap(true, SeqCst) {
        thread::spawn(|| {
            let mut since = Instant::now();
            loop {
                thread::sleep(Duration::from_nanos(DRAIN.load(SeqCst)));
                let gps = GPS.load(SeqCst);
                if !drive() || GPS.load(SeqCst) != gps {
                    since = Instant::now();
                }
                if since.elapsed().as_nanos() as u64 > STALL.load(SeqCst) {
                    REPORTS.fetch_add(1, SeqCst);
                    eprintln!("gracealloc: stalled");
                    since = Instant::now();
                }
            }
        });
    }
}

pub unsafe fn deferred_free(ptr: *mut u8, layout: Layout) {
    if ptr.is_null() {
        return;
    }
    if bug("early") {
        // SAFETY: the mistake.
        return unsafe { dealloc(ptr, layout) };
    }
    if bug("lost") && CALLS.load(SeqCst) % 1000 == 999 {
        CALLS.fetch_add(1, SeqCst);
        return;
    }
    let preemptible = context() == Context::Preemptible;
    let size = layout.size() as u64;
    let fits = || bug("budget") || BYTES.load(SeqCst) + size <= BUDGET.load(SeqCst);
    if preemptible {
        start_worker();
        if CALLS.fetch_add(1, SeqCst).is_multiple_of(64) {
            step();
        }
    }
    if !fits() && (preemptible || bug("wait")) {
        WAITS.fetch_add(1, SeqCst);
        let start = Instant::now();
        while !fits() && (start.elapsed().as_nanos() as u64) < WAIT_LIMIT.load(SeqCst) {
            if preemptible {
                step();
            }
            thread::sleep(Duration::from_millis(1));
        }
        WAIT_NS.fetch_add(start.elapsed().as_nanos() as u64, SeqCst);
    }
    let marked = !fits();
    let (objects, bytes) = if marked { (&MARKED_OBJECTS, &MARKED_BYTES) } else { (&OBJECTS, &BYTES) };
    MARKS.fetch_add(marked.into(), SeqCst);
    objects.fetch_add(1, SeqCst);
    bytes.fetch_add(size, SeqCst);
    PEAK.fetch_max(BYTES.load(SeqCst), SeqCst);
    push(Item::Memory(ptr.addr(), layout, marked));
}

pub unsafe fn deferred_free_bulk(ptrs: &[*mut u8], layout: Layout) {
    for &ptr in ptrs {
        // SAFETY: the caller's.
        unsafe { deferred_free(ptr, layout) };
    }
}

struct Sent<T>(T);
// SAFETY: the caller's.
unsafe impl<T> Send for Sent<T> {}

pub unsafe fn defer_drop<T: ?Sized + Send + 'static>(ptr: *mut T) {
    let ptr = Sent(ptr);
    DROPS.fetch_add(1, SeqCst);
    push(Item::Drop(Box::new(move || {
        let ptr = ptr;
        // SAFETY: the caller's.
        drop(unsafe { Box::from_raw(ptr.0) });
    })));
    if context() == Context::Preemptible {
        start_worker();
    }
}

#[derive(Debug)]
pub struct Full;
#[derive(Debug)]
pub struct Stalled;
impl std::fmt::Display for Stalled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("stalled")
    }
}

pub unsafe fn try_defer_drop<T: ?Sized + Send + 'static>(ptr: *mut T) -> Result<(), Full> {
    if DROPS.load(SeqCst) >= 200 {
        return Err(Full);
    }
    // SAFETY: the caller's.
    unsafe { defer_drop(ptr) };
    Ok(())
}

/// The entries in hand; freed outside of the lock.
fn step() -> bool {
    let mut freed = Vec::new();
    if !DRIVER.0.swap(true, SeqCst) {
        epoch::pin().flush();
        freed = advance();
        DRIVER.0.store(false, SeqCst);
    }
    for item in freed {
        let Item::Memory(at, layout, marked) = item else { unreachable!() };
        // SAFETY: ripe.
        unsafe { dealloc(ptr::without_provenance_mut(at), layout) };
        let (objects, bytes) = if marked { (&MARKED_OBJECTS, &MARKED_BYTES) } else { (&OBJECTS, &BYTES) };
        objects.fetch_sub(1, SeqCst);
        bytes.fetch_sub(layout.size() as u64, SeqCst);
    }
    OBJECTS.load(SeqCst) + MARKED_OBJECTS.load(SeqCst) + DROPS.load(SeqCst) > 0
}

fn advance() -> Vec<Item> {
    let mut new = Vec::with_capacity(100_000);
    let mut drops = Vec::with_capacity(10_000);
    let mut old = None;
    STATE.with(|state| {
        match &state.batch {
            Some((done, _)) if done.load(SeqCst) => old = state.batch.take(),
            Some(_) => return,
            None => (),
        }
        while new.len() < 100_000
            && let Some(item) = state.waiting.as_mut().and_then(Fixed::pop)
        {
            new.push(item);
        }
    });
    if !new.is_empty() {
        let done = Arc::new(AtomicBool::new(false));
        let flag = done.clone();
        let guard = epoch::pin();
        guard.defer(move || {
            GPS.fetch_add(1, SeqCst);
            flag.store(true, SeqCst);
        });
        guard.flush();
        STATE.with(|state| state.batch = Some((done, new)));
    }
    let mut memory = Vec::new();
    for item in old.into_iter().flat_map(|(_, items)| items) {
        if matches!(item, Item::Drop(_)) { drops.push(item) } else { memory.push(item) }
    }
    STATE.with(|state| state.ripe.append(&mut drops));
    memory
}

pub fn drive() -> bool {
    step();
    for item in STATE.with(|state| mem::take(&mut state.ripe)) {
        let Item::Drop(run) = item else { unreachable!() };
        run();
        DROPS.fetch_sub(1, SeqCst);
    }
    step()
}

pub fn synchronize() {
    GraceCookie::now().wait();
}

pub fn synchronize_timeout(limit: Duration) -> Result<(), Stalled> {
    let cookie = GraceCookie::now();
    let start = Instant::now();
    while !cookie.is_elapsed() {
        if start.elapsed() > limit {
            return Err(Stalled);
        }
        thread::sleep(Duration::from_micros(100));
    }
    Ok(())
}

pub fn barrier() {
    while drive() {
        thread::yield_now();
    }
}

#[derive(Clone)]
pub struct GraceCookie(Arc<AtomicBool>);

impl GraceCookie {
    pub fn now() -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let flag = done.clone();
        let guard = epoch::pin();
        guard.defer(move || flag.store(true, SeqCst));
        guard.flush();
        Self(done)
    }
    pub fn is_elapsed(&self) -> bool {
        step();
        self.0.load(SeqCst)
    }
    pub fn wait(&self) {
        while !self.is_elapsed() {
            thread::yield_now();
        }
    }
}

#[derive(Default)]
pub struct Config([Option<u64>; 5]);
impl Config {
    pub fn new() -> Self {
        Self::default()
    }
    pub fn worker(mut self, on: bool) -> Self {
        self.0[0] = Some(on.into());
        self
    }
    pub fn drain_delay(mut self, d: Duration) -> Self {
        self.0[1] = Some(d.as_nanos() as u64);
        self
    }
    pub fn wait_limit(mut self, d: Duration) -> Self {
        self.0[2] = Some(d.as_nanos() as u64);
        self
    }
    pub fn stall_report(mut self, d: Duration) -> Self {
        self.0[3] = Some(d.as_nanos() as u64);
        self
    }
    pub fn budget_bytes(mut self, bytes: usize) -> Self {
        self.0[4] = Some(bytes as u64);
        self
    }
}

pub fn configure(config: Config) -> Result<(), ConfigError> {
    for (value, cell) in config.0[1..].iter().zip([&DRAIN, &WAIT_LIMIT, &STALL, &BUDGET]) {
        if let Some(value) = value {
            cell.store(*value, SeqCst);
        }
    }
    if let Some(on) = config.0[0] {
        WORKER.store(on != 0, SeqCst);
    }
    Ok(())
}

#[derive(Debug)]
pub struct Stats {
    pub rseq: bool,
    pub live_bytes: u64,
    pub lost_objects: u64,
    pub deferred_objects: u64,
    pub deferred_bytes: u64,
    pub deferred_peak_bytes: u64,
    pub marked_objects: u64,
    pub marked_bytes: u64,
    pub deferred_marks: u64,
    pub grace_periods: u64,
    pub stall_reports: u64,
    pub inline_waits: u64,
    pub inline_wait_ns: u64,
    pub budget_bytes: u64,
    pub leaked_drops: u64,
}

pub fn stats() -> Stats {
    let stats = gracealloc::stats();
    Stats {
        rseq: stats.rseq,
        live_bytes: stats.live_bytes,
        lost_objects: stats.lost_objects,
        deferred_objects: OBJECTS.load(SeqCst),
        deferred_bytes: BYTES.load(SeqCst),
        deferred_peak_bytes: PEAK.load(SeqCst),
        marked_objects: MARKED_OBJECTS.load(SeqCst),
        marked_bytes: MARKED_BYTES.load(SeqCst),
        deferred_marks: MARKS.load(SeqCst),
        grace_periods: GPS.load(SeqCst),
        stall_reports: REPORTS.load(SeqCst),
        inline_waits: WAITS.load(SeqCst),
        inline_wait_ns: WAIT_NS.load(SeqCst),
        budget_bytes: BUDGET.load(SeqCst),
        leaked_drops: 0,
    }
}
