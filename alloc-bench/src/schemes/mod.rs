//! Ways to give back an object that readers may still see: what is measured where memory is freed later.
//!
//! A structure that is read without locks cannot free what it unlinks at once. How long it waits, and at what cost, is
//! decided by a *scheme*; where the memory comes from and goes to, by the allocator. Both matter, so the deferral
//! workloads measure pairs of them. Two of the schemes protect nobody and bound the others from below: freeing at once,
//! and not at all.
//!
//! The scheme is a type parameter of the workloads, so that nothing dispatches while a clock runs. [`ALL`] is what the
//! driver knows of them; [`Linked`] is what a child can do: its own schemes besides [`EVERYWHERE`]. `deferred_free` is
//! defined in our child's own sources, because a library that names gracealloc would link it, with the constructors of
//! what lies beneath, into the peers' children.
//!
//! What a scheme can do is a ladder of traits, and what each makes possible to measure:
//!
//! ```text
//!   Scheme      retire            all of them
//!   Readers     enter             those that protect somebody
//!   Waits       synchronize       those that tell when a grace period is over
//!   Expedites                     the same in a hurry: ours
//! ```
//!
//! Invariant: [`Scheme::retire`] gets objects that were allocated here and are reachable by nobody; sections of readers
//! hold up what is retired, and read nothing. What it costs a writer that readers exist (pinning, entering) is paid as a
//! lock-free structure would pay it: once per operation, by the schemes that need it.

use std::alloc::Layout;
use std::fmt::Debug;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::ptr::NonNull;

use crossbeam_epoch::{Guard, Shared};

use crate::workloads::source_index::table::Table;

pub mod defer_destroy;
pub mod immediate;
pub mod leak;
#[cfg(has_liburcu)]
pub mod liburcu;
mod linked;
pub mod seize;

pub use self::linked::{EVERYWHERE, Linked};

/// A scheme as the command line and the tables know it.
#[derive(Debug)]
pub struct Named {
    /// Its name: that of the call that retires an object, where there is one.
    pub name: &'static str,
    /// One line for `--list`.
    pub about: &'static str,
    /// The packages whose versions say what was measured.
    pub packages: &'static [&'static str],
    /// Whether only our allocator has it.
    pub is_ours: bool,
}

/// Ours: the one that the others are compared with.
pub const DEFERRED_FREE: &str = "deferred_free";
/// Every peer's: the one that ours is held against.
pub const DEFER_DESTROY: &str = "defer_destroy";
/// seize's.
pub const SEIZE: &str = "seize";
/// liburcu's, where this was built with it.
pub const CALL_RCU: &str = "call_rcu";
/// Its other one.
pub const DEFER_RCU: &str = "defer_rcu";
/// Freeing at once.
pub const IMMEDIATE: &str = "immediate";

/// Every scheme, in the order of the tables.
pub static ALL: &[Named] = &[
    Named { name: DEFERRED_FREE, about: "gracealloc::deferred_free", packages: &["gracealloc"], is_ours: true },
    Named {
        name: DEFER_DESTROY,
        about: "crossbeam-epoch: one pin and one defer_destroy per object",
        packages: &["crossbeam-epoch"],
        is_ours: false,
    },
    Named {
        name: SEIZE,
        about: "seize: one guard and one defer_retire per object",
        packages: &["seize"],
        is_ours: false,
    },
    #[cfg(has_liburcu)]
    Named {
        name: CALL_RCU,
        about: concat!("liburcu", env!("LIBURCU_VERSION"), ", memb flavour: one call_rcu per object"),
        packages: &[],
        is_ours: false,
    },
    #[cfg(has_liburcu)]
    Named {
        name: DEFER_RCU,
        about: "the same library's other call, which waits for readers itself: for callers that are none",
        packages: &[],
        is_ours: false,
    },
    Named { name: IMMEDIATE, about: "freed at once, readers or not", packages: &[], is_ours: false },
    Named { name: "leak", about: "never freed", packages: &[], is_ours: false },
];

/// Those that have readers: what they retire waits for them.
pub const WITH_READERS: &[&str] = &[DEFERRED_FREE, DEFER_DESTROY, SEIZE, CALL_RCU];
/// Those of others that protect somebody.
pub const PEERS: &[&str] = &[DEFER_DESTROY, SEIZE, CALL_RCU, DEFER_RCU];
/// Those that tell when a grace period is over.
pub const WITH_WAITS: &[&str] = &[DEFERRED_FREE, DEFER_DESTROY, CALL_RCU];
/// Those that can be in a hurry about it.
pub const WITH_EXPEDITED: &[&str] = &[DEFERRED_FREE];

/// Finds a scheme by its name.
pub fn find(name: &str) -> Option<&'static Named> {
    ALL.iter().find(|scheme| scheme.name == name)
}

/// What is retired: so many words in one flat allocation, with nothing to drop. The first of them is written.
pub type Object<const WORDS: usize> = [MaybeUninit<u64>; WORDS];

/// The layout of such an object.
pub const fn layout<const WORDS: usize>() -> Layout {
    Layout::new::<Object<WORDS>>()
}

/// A way to give objects back. One value per measurement, shared by all threads.
pub trait Scheme: Debug + Default + Sync + 'static {
    /// Its name in [`ALL`].
    const NAME: &'static str;
    /// Whether memory only grows, so that the number of operations must be bounded.
    const LEAKS: bool = false;

    /// Makes this thread one that uses the scheme; see [`Member`].
    fn join(&self) {}

    /// Undoes it.
    fn leave(&self) {}

    /// Gives an object back once nobody can see it, and pays for being a reader meanwhile if that is needed.
    ///
    /// # Safety
    ///
    /// - `object` was allocated by the global allocator with [`layout::<WORDS>`](layout), and is retired once.
    /// - Nobody else can reach it.
    unsafe fn retire<const WORDS: usize>(&self, object: NonNull<Object<WORDS>>);

    /// Returns when everything that ended threads have retired has been given back. Exclusive: nobody retires meanwhile.
    fn drain(&mut self) {}

    /// What the scheme says of itself.
    fn counters(&self) -> Option<Counters> {
        None
    }
}

/// A scheme that protects readers.
pub trait Readers: Scheme {
    /// A section of a reader, which ends when this is dropped.
    type Section<'a>;

    /// Becomes a reader. Sections nest.
    fn enter(&self) -> Self::Section<'_>;

    /// Enters and leaves, so many times.
    fn enter_and_leave(&self, times: u64) {
        (0..times).for_each(|_| drop(self.enter()));
    }
}

/// A scheme that tells when all readers have left that there are.
pub trait Waits: Readers {
    /// Returns when they have.
    fn synchronize(&self);
}

/// A scheme that can be in a hurry about it.
pub trait Expedites: Waits {
    /// As [`Waits::synchronize`], at a price.
    fn synchronize_expedited(&self);
}

/// A scheme in the hands of a thread that uses it, which each has to come by for itself.
#[derive(Debug)]
pub struct Member<'a, S: Scheme>(&'a S);

impl<'a, S: Scheme> Member<'a, S> {
    /// Joins.
    pub fn new(scheme: &'a S) -> Self {
        scheme.join();
        Self(scheme)
    }
}

impl<S: Scheme> Deref for Member<'_, S> {
    type Target = S;

    #[inline(always)]
    fn deref(&self) -> &S {
        self.0
    }
}

impl<S: Scheme> Drop for Member<'_, S> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// A scheme whose readers are those of crossbeam-epoch's default collector. The source index uses such.
pub trait UnderEpoch: Scheme {
    /// Gives a table back once nobody can see it.
    ///
    /// # Safety
    ///
    /// - `table` is not null, was built by [`Table::build`], and is retired once.
    /// - No reader that pins from now on finds it.
    unsafe fn retire_table(&self, table: Shared<'_, Table>, guard: &Guard);
}

/// What a scheme has counted since the program's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Grace periods that have elapsed.
    pub grace_periods: u64,
    /// The most bytes that were charged as waiting at one time.
    pub peak_backlog_bytes: u64,
    /// Objects that wait at this moment.
    pub waiting_objects: u64,
}

/// Memory that a leaking pass may take: several times what caches hold. More costs time and shows nothing new.
const MOST_LEAKED: u64 = 64 << 20;

/// As many operations per thread as were asked for, or what a leaking scheme can afford of them. `ops` are in whole
/// steps of `step`; a step more than is affordable is better than none.
pub(crate) fn affordable<S: Scheme>(ops: u64, step: u64, bytes: usize, threads: usize) -> u64 {
    let most = MOST_LEAKED / (bytes * threads) as u64;
    if S::LEAKS { ops.min((most / step).max(1) * step) } else { ops }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_by_its_name() {
        assert!(ALL.iter().all(|scheme| std::ptr::eq(find(scheme.name).unwrap(), scheme)));
        assert!([DEFERRED_FREE, DEFER_DESTROY, IMMEDIATE].iter().all(|name| find(name).is_some()));
    }

    #[test]
    fn only_leaks_are_bounded() {
        let (many, step) = (1 << 40, 1000);
        assert_eq!(affordable::<immediate::Immediate>(many, step, 64, 2), many);
        assert_eq!(affordable::<leak::Leak>(many, step, 64, 2), (MOST_LEAKED / 128 / step) * step);
        assert_eq!(affordable::<leak::Leak>(many, 1 << 39, 64, 2), 1 << 39);
    }
}
