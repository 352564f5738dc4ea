//! Proves: the allocator works before `main` and after it. A constructor in `.init_array` allocates first; then `main`;
//! then destructors of thread-local storage, which also make other thread-local storage and set their own anew; then
//! exit handlers; then a destructor in `.fini_array`, which frees what all of them left and prints the summary.

use std::alloc::Layout;
use std::cell::RefCell;
use std::ffi::c_void;
use std::sync::LazyLock;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::thread;

use gracealloc::GraceAlloc;
use integration::{Block, Exchange, Heap, Summary, fatal, require};

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

static HEAP: LazyLock<Heap> = LazyLock::new(|| Heap::new().expect("address space"));
/// What each stage leaves to `.fini_array`.
static LEFT: Exchange<256> = Exchange::new();
/// The next free cell of it.
static NEXT: AtomicU64 = AtomicU64::new(0);

const SIZES: [usize; 6] = [8, 100, 1024, 5000, 32 * 1024, 300_000];
const THREADS: usize = 16;
/// How often a pthread key's destructor sets its key anew; POSIX promises to call it four times.
const ROUNDS: usize = 3;

/// When the allocator is used.
#[derive(Clone, Copy)]
enum Stage {
    BeforeMain,
    InMain,
    InThreadLocals,
    InPthreadKeys,
    AtExit,
    AfterExit,
}

/// The stages' figures in the summary.
const NAMES: [&str; 6] = ["before_main", "in_main", "in_thread_locals", "in_pthread_keys", "at_exit", "after_exit"];
/// How often each was reached.
static REACHED: [AtomicU64; NAMES.len()] = [const { AtomicU64::new(0) }; NAMES.len()];

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = before_main;

#[used]
#[unsafe(link_section = ".fini_array")]
static DESTRUCTOR: extern "C" fn() = after_exit;

extern "C" fn before_main() {
    reach(Stage::BeforeMain);
    register_exit_handlers();
}

fn main() {
    require!(gracealloc::is_global(), "gracealloc is not the global allocator");
    reach(Stage::InMain);
    register_exit_handlers();
    let key = make_key();
    let threads: Vec<_> = (0..THREADS).map(|_| thread::spawn(move || use_thread_locals(key))).collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    // And the main thread's own, whose destructors run within `exit`.
    use_thread_locals(key);
}

/// Allocates all sizes, grows and frees, and leaves one block behind.
fn reach(stage: Stage) {
    REACHED[stage as usize].fetch_add(1, Relaxed);
    let blocks = SIZES.map(allocate);
    blocks.into_iter().for_each(|block| {
        let size = block.layout().size();
        HEAP.free(HEAP.resize(block, size * 3));
    });
    let cell = NEXT.fetch_add(1, Relaxed);
    if LEFT.put(cell as usize, allocate(SIZES[cell as usize % SIZES.len()])).is_err() {
        fatal!("more stages than cells");
    }
}

fn allocate(size: usize) -> Block {
    let layout = Layout::from_size_align(size, 8).expect("valid");
    HEAP.alloc(layout).unwrap_or_else(|| fatal!("null for {size} bytes"))
}

extern "C" fn at_exit() {
    reach(Stage::AtExit);
}

fn register_exit_handlers() {
    for _ in 0..8 {
        // SAFETY: the handler may run at any time.
        require!(unsafe { libc::atexit(at_exit) } == 0, "atexit");
    }
}

/// Holds memory until its thread ends, and uses more then.
struct Late(Vec<String>);

thread_local! {
    static FIRST: RefCell<Late> = RefCell::new(Late::new());
    /// First used by the destructor of `FIRST`.
    static SECOND: RefCell<Option<Box<[u64]>>> = const { RefCell::new(None) };
}

impl Late {
    fn new() -> Self {
        Self((0..50).map(|line| line.to_string()).collect())
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        let lines = self.0.drain(..).enumerate();
        require!(
            lines.fold(0, |n, (i, line)| n + u32::from(line == i.to_string())) == 50,
            "a thread's lines are damaged"
        );
        SECOND.with_borrow_mut(|second| *second = Some(vec![7; 1000].into()));
        reach(Stage::InThreadLocals);
    }
}

fn use_thread_locals(key: libc::pthread_key_t) {
    FIRST.with_borrow(|late| require!(late.0.len() == 50, "a thread's lines are missing"));
    set_key(key, Box::new(0));
}

fn make_key() -> libc::pthread_key_t {
    let mut key = 0;
    // SAFETY: the key is valid for writes; the destructor takes what `set_key` sets.
    let error = unsafe { libc::pthread_key_create(&raw mut key, Some(key_destructor)) };
    require!(error == 0, "pthread_key_create: error {error}");
    KEY.store(key, Relaxed);
    key
}

static KEY: AtomicU32 = AtomicU32::new(0);

fn set_key(key: libc::pthread_key_t, round: Box<usize>) {
    // SAFETY: the key exists; its destructor takes the box back.
    let error = unsafe { libc::pthread_setspecific(key, Box::into_raw(round).cast()) };
    require!(error == 0, "pthread_setspecific: error {error}");
}

unsafe extern "C" fn key_destructor(round: *mut c_void) {
    // SAFETY: `set_key` made it from a box, and glibc has cleared the key.
    let round = unsafe { Box::from_raw(round.cast::<usize>()) };
    reach(Stage::InPthreadKeys);
    if *round < ROUNDS {
        set_key(KEY.load(Relaxed), Box::new(*round + 1));
    }
}

extern "C" fn after_exit() {
    reach(Stage::AfterExit);
    LEFT.drain().for_each(|block| HEAP.free(block));
    require!(HEAP.live() == 0, "{} objects lost", HEAP.live());
    let summary = Summary::new("early_late").with("objects", HEAP.freed());
    let figures = NAMES.iter().zip(&REACHED);
    figures.fold(summary, |summary, (name, count)| summary.with(name, count.load(Relaxed))).print();
}
