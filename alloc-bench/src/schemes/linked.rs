//! What a program can do with the schemes that are linked into it: the workloads, made with each.

use anyhow::Result;

use super::defer_destroy::DeferDestroy;
use super::immediate::Immediate;
use super::leak::Leak;
#[cfg(has_liburcu)]
use super::liburcu;
use super::seize::Seize;
use super::{Expedites, Readers, Scheme, UnderEpoch, Waits};
use crate::workloads::{
    Setup, Workload, defer_held, defer_steady, grace_threads, kfree_twin, read_section, source_index, synchronize,
};

/// Makes a workload ready to run.
type Prepare = fn(&Setup<'_>) -> Result<Box<dyn Workload>>;

/// A scheme that is linked into this program: the workloads made with it.
#[derive(Clone, Copy, Debug)]
pub struct Linked {
    /// Its name in [`super::ALL`].
    pub name: &'static str,
    pub(crate) defer_steady: Prepare,
    pub(crate) kfree_twin: Prepare,
    pub(crate) source_index: Option<Prepare>,
    pub(crate) of_readers: Option<OfReaders>,
    pub(crate) of_waits: Option<OfWaits>,
    pub(crate) expedited: Option<Prepare>,
}

/// The workloads made with a scheme that has readers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OfReaders {
    pub(crate) read_section: Prepare,
    pub(crate) defer_held: Prepare,
    pub(crate) flood: Prepare,
}

/// Those made with one that can be waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OfWaits {
    pub(crate) synchronize: Prepare,
    pub(crate) grace_threads: Prepare,
}

impl Linked {
    /// The workloads made with any scheme.
    pub const fn of<S: Scheme>() -> Self {
        Self {
            name: S::NAME,
            defer_steady: defer_steady::prepare_with::<S>,
            kfree_twin: kfree_twin::prepare_with::<S>,
            source_index: None,
            of_readers: None,
            of_waits: None,
            expedited: None,
        }
    }

    /// Those, and what needs readers.
    pub const fn with_readers<S: Readers>() -> Self {
        let of_readers = OfReaders {
            read_section: read_section::prepare_with::<S>,
            defer_held: defer_held::prepare_with::<S>,
            flood: defer_held::prepare_flood_with::<S>,
        };
        Self { of_readers: Some(of_readers), ..Self::of::<S>() }
    }

    /// Those, and what waits for readers.
    pub const fn with_waits<S: Waits>() -> Self {
        let of_waits =
            OfWaits { synchronize: synchronize::prepare_with::<S>, grace_threads: grace_threads::prepare_with::<S> };
        Self { of_waits: Some(of_waits), ..Self::with_readers::<S>() }
    }

    /// This, and what waits in a hurry.
    pub const fn and_expedited<S: Expedites>(self) -> Self {
        Self { expedited: Some(synchronize::prepare_expedited_with::<S>), ..self }
    }

    /// This, and the source index.
    pub const fn and_source_index<S: UnderEpoch>(self) -> Self {
        Self { source_index: Some(source_index::prepare_with::<S>), ..self }
    }
}

/// The schemes of every child.
pub static EVERYWHERE: &[Linked] = &[
    Linked::with_waits::<DeferDestroy>().and_source_index::<DeferDestroy>(),
    Linked::with_readers::<Seize>(),
    #[cfg(has_liburcu)]
    Linked::with_waits::<liburcu::CallRcu>(),
    #[cfg(has_liburcu)]
    Linked::of::<liburcu::DeferRcu>(),
    Linked::of::<Immediate>(),
    Linked::of::<Leak>(),
];

#[cfg(test)]
mod tests {
    use super::super::{ALL, WITH_EXPEDITED, WITH_READERS, WITH_WAITS};
    use super::*;

    #[test]
    fn every_child_has_all_schemes_but_ours() {
        let linked: Vec<_> = EVERYWHERE.iter().map(|linked| linked.name).collect();
        let others: Vec<_> = ALL.iter().filter(|scheme| !scheme.is_ours).map(|scheme| scheme.name).collect();
        assert_eq!(linked, others);
    }

    #[test]
    fn what_schemes_can_do_is_what_the_lists_say() {
        for linked in EVERYWHERE {
            assert_eq!(linked.of_readers.is_some(), WITH_READERS.contains(&linked.name));
            assert_eq!(linked.of_waits.is_some(), WITH_WAITS.contains(&linked.name));
            assert_eq!(linked.expedited.is_some(), WITH_EXPEDITED.contains(&linked.name));
        }
    }
}
