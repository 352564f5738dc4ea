//! Proves: a process that ends with deferrals pending ends at once, with its own exit code. The program starts itself
//! anew for each case; its budget is small and its wait limit a minute, so that an end which waits is seen.
//!
//! ```text
//! returns         main returns beside a reader; thread-locals and exit handlers defer too
//! floods          main returns, while threads defer and the worker works
//! waits           a thread calls exit, while another waits inline for the budget
//! synchronizes    a thread calls exit, while another waits in barrier()
//! in_destructor   a deferred destructor calls exit, on the worker
//! without_worker  main returns beside a reader, with nobody to do anything
//! ```

use std::alloc::Layout;
use std::cell::RefCell;
use std::env;
use std::io::Read;
use std::process::{self, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_epoch as epoch;
use gracealloc::GraceAlloc;
use integration::{Block, Summary, counted, deferral, fatal, require};
use wait_timeout::ChildExt;

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

/// A case: its name, its exit code, what it does and how it ends.
type Case = (&'static str, u8, fn());

const CASES: [Case; 6] = [
    ("returns", 41, returns),
    ("floods", 42, floods),
    ("waits", 43, waits),
    ("synchronizes", 44, synchronizes),
    ("in_destructor", 45, in_destructor),
    ("without_worker", 46, without_worker),
];

const SETTINGS: [(&str, &str); 2] = [("GRACEALLOC_BUDGET_BYTES", "2097152"), ("GRACEALLOC_WAIT_LIMIT_MS", "60000")];
/// Whoever takes that long from its last word to its end does not end at once.
const LATE: Duration = Duration::from_secs(10);
/// Time for others to get going, or stuck.
const A_WHILE: Duration = Duration::from_millis(100);
const SIZE: usize = 256;
/// Within the budget.
const OBJECTS: u64 = 2000;

fn main() -> ExitCode {
    require!(gracealloc::is_global(), "gracealloc is not the global allocator");
    let name = env::args().nth(1);
    let Some(name) = name else { return run_all() };
    let Some((_, code, case)) = CASES.into_iter().find(|case| case.0 == name) else { fatal!("no case {name}") };
    case();
    ExitCode::from(code)
}

fn run_all() -> ExitCode {
    let slowest = CASES.into_iter().map(run).max().expect("there are cases");
    Summary::new("exit_pending")
        .with("rseq", gracealloc::stats().rseq.into())
        .with("cases", CASES.len() as u64)
        .with("slowest_us", slowest.as_micros() as u64)
        .print();
    ExitCode::SUCCESS
}

/// Runs a case; returns the time from its last word to its end.
fn run((name, code, _): Case) -> Duration {
    let mut command = Command::new(env::current_exe().expect("/proc"));
    command.arg(name).envs(SETTINGS).env("GRACEALLOC_WORKER", if name == "without_worker" { "0" } else { "1" });
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the case starts");
    let mut word = [0];
    let said = child.stdout.take().expect("piped").read_exact(&mut word);
    require!(said.is_ok(), "case {name} ended without a word");
    let start = Instant::now();
    let status = child.wait_timeout(LATE).expect("the case can be waited for");
    let Some(status) = status else {
        child.kill().expect("it can be killed");
        fatal!("case {name} has not ended within {LATE:?}");
    };
    require!(status.code() == Some(code.into()), "case {name}: {status} and not {code}");
    start.elapsed()
}

/// The last word: from here on it ends.
fn say_goodbye() {
    // SAFETY: one byte.
    let written = unsafe { libc::write(libc::STDOUT_FILENO, c"!".as_ptr().cast(), 1) };
    require!(written == 1, "nobody listens");
}

fn defer(id: u64) {
    let layout = Layout::from_size_align(SIZE, 8).expect("valid");
    let block = Block::new(layout, id).unwrap_or_else(|| fatal!("null for {layout:?}"));
    // SAFETY: the block ends here.
    block.free_by(|start, layout| unsafe { gracealloc::deferred_free(start, layout) });
}

/// Lets a reader enter that never leaves.
fn stall() {
    let (inside, entered) = mpsc::channel();
    thread::spawn(move || {
        let _guard = epoch::pin();
        inside.send(()).expect("the main thread waits");
        loop {
            thread::park();
        }
    });
    entered.recv().expect("the reader lives");
}

/// Defers, also something to drop, and looks at the very end that it was not dropped.
fn leave_pending() {
    stall();
    (0..OBJECTS).for_each(defer);
    _ = counted::defer(20);
    deferral::all_pending(OBJECTS, LATE);
}

extern "C" fn at_exit() {
    (0..OBJECTS / 10).for_each(defer);
    require!(counted::drops() == 0, "a destructor ran under a reader");
}

struct Late;

impl Drop for Late {
    fn drop(&mut self) {
        (0..OBJECTS / 10).for_each(defer);
    }
}

thread_local! {
    // crossbeam's own is made between these two: one of them is destroyed when that is gone.
    static OLDER: RefCell<Option<Late>> = const { RefCell::new(None) };
    static YOUNGER: RefCell<Option<Late>> = const { RefCell::new(None) };
}

fn returns() {
    // SAFETY: the handler may run at any time.
    require!(unsafe { libc::atexit(at_exit) } == 0, "atexit");
    OLDER.set(Some(Late));
    drop(epoch::pin());
    YOUNGER.set(Some(Late));
    leave_pending();
    say_goodbye();
}

fn flood() {
    loop {
        defer(7);
    }
}

fn floods() {
    (0..3).for_each(|_| _ = thread::spawn(flood));
    thread::sleep(A_WHILE);
    _ = counted::defer(100);
    say_goodbye();
}

/// Ends the process from another thread in a while.
fn exit_meanwhile(code: i32) {
    thread::spawn(move || {
        thread::sleep(A_WHILE);
        say_goodbye();
        process::exit(code);
    });
}

fn waits() {
    stall();
    exit_meanwhile(43);
    flood();
}

fn synchronizes() {
    leave_pending();
    exit_meanwhile(44);
    gracealloc::barrier();
    fatal!("a barrier passed a reader");
}

struct Exits;

impl Drop for Exits {
    fn drop(&mut self) {
        say_goodbye();
        process::exit(45);
    }
}

fn in_destructor() {
    (0..OBJECTS).for_each(defer);
    // SAFETY: from a box, and nobody else has ever seen it.
    unsafe { gracealloc::defer_drop(Box::into_raw(Box::new(Exits))) };
    thread::sleep(2 * LATE);
    fatal!("the destructor has not run");
}

fn without_worker() {
    leave_pending();
    say_goodbye();
}
