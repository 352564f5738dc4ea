//! Proves: one `deferred_free` serves preemptible, reader and atomic callers, in the very race from which the kernel's
//! headless `kfree_rcu()` was born. A file system keeps an array of pointers to descriptors, readers index it without a
//! lock, and while they do it is resized online:
//!
//! ```text
//! CURRENT --> | header | 0 | 1 | 2 | ... | len-1 |        readers: pin, load CURRENT, index, look, unpin
//!                        |   |
//!                        v   v                            writers: under the lock, replace an entry
//!              descriptor 0  descriptor 1                 the resizer: under the lock, publish a larger copy
//! ```
//!
//! The lock is a spin lock, so who holds it is atomic, and so is a signal handler, which only tries it. Old arrays and
//! old descriptors have no room for a list head. Readers hold what they found for a while and look again: each
//! descriptor has a pattern of its own id and says at which index it stands. A scribbler allocates and overwrites whatever
//! has been given back.
//!
//! Arguments: the milliseconds to run (default 2000), the seed.

use std::alloc::{Layout, alloc};
use std::ptr;
use std::slice;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_epoch as epoch;
use fastrand::Rng;
use gracealloc::{Config, Context, GraceAlloc};
use integration::timer::{self, Timer};
use integration::{Block, Summary, fatal, random, require};

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

static CURRENT: AtomicPtr<Array> = AtomicPtr::new(ptr::null_mut());
static LOCK: SpinLock = SpinLock(AtomicBool::new(false));
static STOP: AtomicBool = AtomicBool::new(false);

// Relaxed throughout: ids and counts, read when the threads have been joined.
static IDS: AtomicU64 = AtomicU64::new(0);
static LOOKS: AtomicU64 = AtomicU64::new(0);
static RESIZES: AtomicU64 = AtomicU64::new(0);
static SCRIBBLED: AtomicU64 = AtomicU64::new(0);
/// What was retired, by context; the last is what handlers retired, also atomic.
static RETIRED: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
const BY_HANDLERS: usize = 3;

/// The array grows from the first length to the second by doubling, then shrinks to the first at once.
const LENGTHS: (usize, usize) = (64, 16_384);
/// What a reader holds at a time.
const HELD: usize = 24;
const BUDGET: usize = 2 << 20;
const WAIT_LIMIT: Duration = Duration::from_millis(20);
/// More than one magazine.
const SCRIBBLED_AT_ONCE: usize = 300;
/// How often a writer or the resizer is interrupted.
const SIGNAL: (i32, i64) = (libc::SIGALRM, 700_000);

fn main() {
    require!(gracealloc::is_global(), "gracealloc is not the global allocator");
    let time = Duration::from_millis(random::argument(1).unwrap_or(2000));
    let seed = random::seed(2);
    let config = Config::new().budget_bytes(BUDGET).wait_limit(WAIT_LIMIT);
    require!(gracealloc::configure(config).is_ok(), "the configuration is refused");
    timer::install(SIGNAL.0, on_signal);
    let before = gracealloc::stats().live_bytes;
    CURRENT.store(Array::filled(LENGTHS.0, &[]), Release);
    let threads = start(seed);
    thread::sleep(time);
    STOP.store(true, Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap_or_else(|_| fatal!("a thread panicked")));
    retire_everything();
    report(seed, before);
}

fn start(seed: u64) -> Vec<JoinHandle<()>> {
    let works: [fn(Rng); 5] = [read, read, write, resize, scribble];
    let start = |(index, work): (usize, fn(Rng))| {
        thread::spawn(move || {
            let mut rng = Rng::with_seed(seed ^ index as u64);
            while !STOP.load(Relaxed) {
                work(rng.fork());
            }
        })
    };
    works.into_iter().enumerate().map(start).collect()
}

fn report(seed: u64, before: u64) {
    gracealloc::barrier();
    gracealloc::trim();
    let stats = gracealloc::stats();
    let pending = stats.deferred_objects + stats.marked_objects;
    require!(pending == 0 && stats.lost_objects == 0, "not all was given back: {stats:?}");
    let more = stats.live_bytes.saturating_sub(before);
    require!(more < 64 << 10, "{more} bytes more are live than at the start");
    let [preemptible, reader, atomic, handlers] = RETIRED.each_ref().map(|count| count.load(Relaxed));
    Summary::new("descriptor_array")
        .with("rseq", stats.rseq.into())
        .with("seed", seed)
        .with("resizes", RESIZES.load(Relaxed))
        .with("looks", LOOKS.load(Relaxed))
        .with("scribbled", SCRIBBLED.load(Relaxed))
        .with("by_preemptible", preemptible)
        .with("by_readers", reader)
        .with("by_atomic", atomic)
        .with("by_handlers", handlers)
        .with("inline_waits", stats.inline_waits)
        .with("marks", stats.deferred_marks)
        .with("peak_bytes", stats.deferred_peak_bytes)
        .print();
}

/// What an array points to; nothing of it changes once it is published.
#[derive(Clone, Copy, PartialEq)]
#[repr(C)]
struct Descriptor {
    id: u64,
    index: usize,
    pattern: [u64; 10],
}

impl Descriptor {
    const LAYOUT: Layout = Layout::new::<Self>();

    /// The one descriptor of this id at this index.
    fn with_id(id: u64, index: usize) -> Self {
        let word = |n: u64| (id + n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self { id, index, pattern: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(word) }
    }

    /// One with an id of its own; null where the allocator returns null.
    fn allocate(index: usize) -> *mut Self {
        // SAFETY: the size is not 0.
        let new: *mut Self = unsafe { alloc(Self::LAYOUT) }.cast();
        if !new.is_null() {
            // SAFETY: fresh memory of this layout.
            unsafe { new.write(Self::with_id(IDS.fetch_add(1, Relaxed), index)) };
        }
        new
    }

    fn new(index: usize) -> *mut Self {
        let new = Self::allocate(index);
        require!(!new.is_null(), "null for a descriptor");
        new
    }
}

/// The header of an array; the pointers follow.
#[repr(C)]
struct Array {
    len: usize,
    /// The complement of `len`.
    check: usize,
}

impl Array {
    fn layout(len: usize) -> Layout {
        let pointers = Layout::array::<AtomicPtr<Descriptor>>(len).expect("far from the limits");
        Layout::new::<Self>().extend(pointers).expect("far from the limits").0
    }

    /// An array of `len` that begins with `entries`; what follows are new descriptors.
    fn filled(len: usize, entries: &[*mut Descriptor]) -> *mut Self {
        let array = Self::allocate(len);
        // SAFETY: fresh, and initialised so far that it has its pointers.
        let cells = unsafe { Self::entries(array) }.iter().enumerate();
        cells.for_each(|(index, cell)| {
            let entry = entries.get(index).copied().unwrap_or_else(|| Descriptor::new(index));
            cell.store(entry, Relaxed);
        });
        array
    }

    /// An array of null pointers.
    fn allocate(len: usize) -> *mut Self {
        let layout = Self::layout(len);
        // SAFETY: the size is not 0.
        let array: *mut Self = unsafe { std::alloc::alloc_zeroed(layout) }.cast();
        require!(!array.is_null(), "null for {layout:?}");
        // SAFETY: fresh memory of this layout.
        unsafe { array.write(Self { len, check: !len }) };
        array
    }

    /// The pointers.
    ///
    /// # Safety
    /// - The array is not given back as long as the slice is used.
    unsafe fn entries<'a>(array: *mut Self) -> &'a [AtomicPtr<Descriptor>] {
        // SAFETY: the caller's.
        let Self { len, check } = unsafe { array.read() };
        require!(check == !len, "the array at {array:p} was given back early: {len:#x}, {check:#x}");
        // SAFETY: `len` pointers follow the header, without padding.
        unsafe { slice::from_raw_parts(array.add(1).cast(), len) }
    }
}

/// What spins and never waits for a grace period while it is held.
struct SpinLock(AtomicBool);

impl SpinLock {
    fn try_lock(&self) -> bool {
        // Acquire: what the last holder did (its Release).
        !self.0.swap(true, Acquire)
    }

    fn unlock(&self) {
        // Release: the next holder sees what this one did.
        self.0.store(false, Release);
    }

    fn with<R>(&self, work: impl FnOnce() -> R) -> R {
        while !self.try_lock() {
            thread::yield_now();
        }
        let result = work();
        self.unlock();
        result
    }
}

/// The one way in which arrays and descriptors are retired, whoever retires them.
///
/// # Safety
/// - Unlinked, so that new readers do not find it, and retired nowhere else; of this layout.
unsafe fn retire<T>(old: *mut T, layout: Layout) {
    count(gracealloc::context() as usize, 1);
    // SAFETY: the caller's; nothing in it needs dropping.
    unsafe { gracealloc::deferred_free(old.cast(), layout) };
}

fn count(context: usize, objects: u64) {
    RETIRED[context].fetch_add(objects, Relaxed);
}

/// Replaces a descriptor; the caller holds the lock. Returns the old one, which belongs to the caller now.
fn replace_locked(random: usize, new: *mut Descriptor) -> *mut Descriptor {
    // SAFETY: who holds the lock sees the current array, and nobody retires it.
    let entries = unsafe { Array::entries(CURRENT.load(Relaxed)) };
    let index = random % entries.len();
    // SAFETY: not published yet.
    unsafe { (*new).index = index };
    // Release: a reader that finds it sees its pattern. Acquire: the old one was written by somebody else.
    entries[index].swap(new, AcqRel)
}

/// Replaces descriptors, in each context.
fn write(mut rng: Rng) {
    let timer = Timer::start(SIGNAL.0, SIGNAL.1);
    for _ in 0..200 {
        let new = Descriptor::new(0);
        match rng.u32(..3) {
            0 => write_preemptible(rng.usize(..), new),
            1 => write_as_reader(rng.usize(..), new),
            _ => write_atomic(rng.usize(..), new),
        }
    }
    timer.stop();
}

fn write_preemptible(random: usize, new: *mut Descriptor) {
    let old = LOCK.with(|| replace_locked(random, new));
    // SAFETY: unlinked by us; of this layout.
    unsafe { retire(old, Descriptor::LAYOUT) };
}

/// Sees what it has retired as long as it is inside.
fn write_as_reader(random: usize, new: *mut Descriptor) {
    let guard = epoch::pin();
    let old = LOCK.with(|| replace_locked(random, new));
    // SAFETY: not retired yet.
    let seen = unsafe { old.read() };
    // SAFETY: unlinked by us; of this layout.
    unsafe { retire(old, Descriptor::LAYOUT) };
    thread::yield_now();
    // SAFETY: retired after we entered.
    require!(unsafe { old.read() } == seen, "descriptor {} was given back early to its own reader", seen.id);
    drop(guard);
}

/// As in the kernel, where who holds a spin lock must not sleep.
fn write_atomic(random: usize, new: *mut Descriptor) {
    LOCK.with(|| {
        let section = gracealloc::atomic_section();
        let old = replace_locked(random, new);
        // SAFETY: unlinked by us; of this layout.
        unsafe { retire(old, Descriptor::LAYOUT) };
        drop(section);
    });
}

extern "C" fn on_signal(_: i32) {
    timer::keep_errno(write_in_handler);
}

/// Replaces a descriptor too, unless the lock is held (perhaps by what was interrupted) or there is no memory.
fn write_in_handler() {
    let _section = gracealloc::atomic_section();
    let new = Descriptor::allocate(0);
    if new.is_null() {
        return;
    }
    let locked = LOCK.try_lock();
    // SAFETY: `new` is valid.
    let old = if locked { replace_locked(unsafe { (*new).id } as usize, new) } else { new };
    if locked {
        LOCK.unlock();
        count(BY_HANDLERS, 1);
    }
    // SAFETY: unlinked by us, or never linked; of this layout.
    unsafe { retire(old, Descriptor::LAYOUT) };
}

/// Looks at some descriptors, and after a while at the same again.
fn read(mut rng: Rng) {
    for round in 0..200 {
        let guard = epoch::pin();
        // Acquire: its pointers (the Release in `publish`).
        let array = CURRENT.load(Acquire);
        // SAFETY: found after we entered.
        let entries = unsafe { Array::entries(array) };
        let held: [_; HELD] = std::array::from_fn(|_| look(entries, rng.usize(..entries.len())));
        linger(round, &mut rng);
        held.iter().for_each(|&(descriptor, seen)| {
            // SAFETY: found after we entered.
            require!(unsafe { descriptor.read() } == seen, "descriptor {} was given back early", seen.id);
        });
        // SAFETY: as above.
        require!(unsafe { Array::entries(array) }.len() == entries.len(), "the array was given back early");
        drop(guard);
    }
    LOOKS.fetch_add(200 * HELD as u64, Relaxed);
}

/// Stays inside: mostly for a moment, sometimes longer than a grace period takes.
fn linger(round: u32, rng: &mut Rng) {
    match round % 64 {
        0 => thread::sleep(Duration::from_millis(rng.u64(..30))),
        16 | 32 | 48 => thread::sleep(Duration::from_micros(rng.u64(..3000))),
        _ => thread::yield_now(),
    }
}

/// A descriptor and what it says.
fn look(entries: &[AtomicPtr<Descriptor>], index: usize) -> (*mut Descriptor, Descriptor) {
    // Acquire: what it says (the Release of the swap or of the array).
    let descriptor = entries[index].load(Acquire);
    // SAFETY: found by a reader.
    let seen = unsafe { descriptor.read() };
    require!(seen == Descriptor::with_id(seen.id, index), "descriptor {} at {index} is damaged", seen.id);
    (descriptor, seen)
}

/// Grows the array to its full length and shrinks it again.
fn resize(mut rng: Rng) {
    let timer = Timer::start(SIGNAL.0, SIGNAL.1);
    let mut len = LENGTHS.0;
    while len < LENGTHS.1 {
        len *= 2;
        let spare: Vec<_> = (len / 2..len).map(Descriptor::new).collect();
        publish(Array::allocate(len), &spare, rng.u32(..3));
        thread::sleep(Duration::from_millis(1));
    }
    shrink();
    timer.stop();
}

/// Makes `new` the current array, with the old one's descriptors and then `more`, and retires the old one in some
/// context.
fn publish(new: *mut Array, more: &[*mut Descriptor], context: u32) {
    let guard = (context == 1).then(epoch::pin);
    let old = LOCK.with(|| swap_locked(new, more));
    let section = (context == 2).then(gracealloc::atomic_section);
    // SAFETY: retired below, by us alone.
    let len = unsafe { Array::entries(old) }.len();
    // SAFETY: unlinked by us; of this layout.
    unsafe { retire(old, Array::layout(len)) };
    drop((section, guard));
    RESIZES.fetch_add(1, Relaxed);
}

/// Copies as many pointers as fit; the caller holds the lock. Returns the old array.
fn swap_locked(new: *mut Array, more: &[*mut Descriptor]) -> *mut Array {
    let old = CURRENT.load(Relaxed);
    // SAFETY: the old one is current, the new one not published yet.
    let (from, to) = unsafe { (Array::entries(old), Array::entries(new)) };
    // Acquire: the descriptors, which the publication passes on.
    let entries = from.iter().map(|cell| cell.load(Acquire)).chain(more.iter().copied());
    to.iter().zip(entries).for_each(|(cell, entry)| cell.store(entry, Relaxed));
    // Release: readers that find it see its pointers.
    CURRENT.swap(new, Release)
}

/// Cuts the array to its first length, and retires all that stands behind that at once.
fn shrink() {
    let new = Array::allocate(LENGTHS.0);
    let old = LOCK.with(|| swap_locked(new, &[]));
    // SAFETY: retired below, by us alone.
    let entries = unsafe { Array::entries(old) };
    let behind: Vec<*mut u8> = entries[LENGTHS.0..].iter().map(|cell| cell.load(Acquire).cast()).collect();
    let layout = Array::layout(entries.len());
    // SAFETY: the new array does not have them; of this layout.
    unsafe { gracealloc::deferred_free_bulk(&behind, Descriptor::LAYOUT) };
    count(Context::Preemptible as usize, behind.len() as u64);
    // SAFETY: unlinked by us; of this layout.
    unsafe { retire(old, layout) };
    RESIZES.fetch_add(1, Relaxed);
}

/// Allocates what was given back last, and overwrites it.
fn scribble(mut rng: Rng) {
    let len = LENGTHS.0 << rng.u32(..=8);
    let layout = if rng.bool() { Descriptor::LAYOUT } else { Array::layout(len) };
    let blocks: Vec<_> =
        (0..SCRIBBLED_AT_ONCE.min((4 << 20) / layout.size())).map(|_| Block::new(layout, !0)).collect();
    SCRIBBLED.fetch_add(blocks.len() as u64, Relaxed);
    blocks.into_iter().flatten().for_each(Block::free);
    thread::sleep(Duration::from_micros(200));
}

/// Shrinks the array and retires it with what it still has.
fn retire_everything() {
    shrink();
    let last = CURRENT.swap(ptr::null_mut(), Acquire);
    // SAFETY: nobody reads or writes any more, and it is retired below.
    for entry in unsafe { Array::entries(last) } {
        // SAFETY: unlinked; of this layout.
        unsafe { retire(entry.load(Acquire), Descriptor::LAYOUT) };
    }
    // SAFETY: as above.
    unsafe { retire(last, Array::layout(LENGTHS.0)) };
}
