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
//! Invariant: [`Scheme::retire`] gets objects that were allocated here and are reachable by nobody; no workload has a
//! reader. What it costs readers to exist (pinning, entering) is paid as a lock-free structure would pay it: once per
//! operation, by the schemes that need it.

use std::alloc::Layout;
use std::fmt::Debug;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use anyhow::Result;
use crossbeam_epoch::{Guard, Shared};

use crate::workloads::source_index::table::Table;
use crate::workloads::{Setup, Workload, defer_steady, kfree_twin, source_index};

pub mod defer_destroy;
pub mod immediate;
pub mod leak;
pub mod seize;

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
        name: "seize",
        about: "seize: one guard and one defer_retire per object",
        packages: &["seize"],
        is_ours: false,
    },
    Named { name: IMMEDIATE, about: "freed at once, readers or not", packages: &[], is_ours: false },
    Named { name: "leak", about: "never freed", packages: &[], is_ours: false },
];

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
}

/// Makes a workload ready to run.
type Prepare = fn(&Setup<'_>) -> Result<Box<dyn Workload>>;

/// A scheme that is linked into this program: the workloads made with it.
#[derive(Clone, Copy, Debug)]
pub struct Linked {
    /// Its name in [`ALL`].
    pub name: &'static str,
    pub(crate) defer_steady: Prepare,
    pub(crate) kfree_twin: Prepare,
    pub(crate) source_index: Option<Prepare>,
}

impl Linked {
    /// The workloads made with any scheme.
    pub const fn of<S: Scheme>() -> Self {
        Self {
            name: S::NAME,
            defer_steady: defer_steady::prepare_with::<S>,
            kfree_twin: kfree_twin::prepare_with::<S>,
            source_index: None,
        }
    }

    /// Those, and the source index.
    pub const fn under_epoch<S: UnderEpoch>() -> Self {
        Self { source_index: Some(source_index::prepare_with::<S>), ..Self::of::<S>() }
    }
}

/// The schemes of every child.
pub static EVERYWHERE: &[Linked] = &[
    Linked::under_epoch::<defer_destroy::DeferDestroy>(),
    Linked::of::<seize::Seize>(),
    Linked::of::<immediate::Immediate>(),
    Linked::of::<leak::Leak>(),
];

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
    fn every_child_has_all_schemes_but_ours() {
        let linked: Vec<_> = EVERYWHERE.iter().map(|linked| linked.name).collect();
        let others: Vec<_> = ALL.iter().filter(|scheme| !scheme.is_ours).map(|scheme| scheme.name).collect();
        assert_eq!(linked, others);
    }

    #[test]
    fn only_leaks_are_bounded() {
        let (many, step) = (1 << 40, 1000);
        assert_eq!(affordable::<immediate::Immediate>(many, step, 64, 2), many);
        assert_eq!(affordable::<leak::Leak>(many, step, 64, 2), (MOST_LEAKED / 128 / step) * step);
        assert_eq!(affordable::<leak::Leak>(many, 1 << 39, 64, 2), 1 << 39);
    }
}
