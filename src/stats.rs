//! Statistics: every layer counts for itself, here it is added up.

use crate::platform::slots::{self, Mode};
use crate::size_class::SizeClass;
use crate::{cache, defer, deferred, grace, slab};
use core::fmt;

/// What is known of the heap; see [`stats`].
///
/// The numbers are read one after the other while other threads go on, so they need not agree with each other to the
/// last object. All sizes are in bytes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Whether restartable sequences are in use (false before the first allocation, too).
    pub rseq: bool,
    /// Cells of the caches: one for each possible CPU and an extra one, or shards.
    pub cells: u32,
    /// Bytes in use by the program: objects of the classes, and large objects as they were asked for.
    pub live_bytes: u64,
    /// Bytes of objects that wait for a grace period in pages (open ones, too), and of deferred large objects.
    ///
    /// A page that somebody moves at this moment, from its slot to a queue say, is in no figure or in two: that this is 0
    /// does not say that nothing is pending. [`barrier`](crate::barrier) waits for such pages, too.
    pub deferred_bytes: u64,
    /// How many objects these are.
    pub deferred_objects: u64,
    /// The most bytes that were charged to the budget: pages with all that they can hold, and large objects. Noted in
    /// steps of up to an eighth of the budget, divided by the cells.
    pub deferred_peak_bytes: u64,
    /// The page budget in force.
    pub budget_bytes: u64,
    /// Objects that are marked as deferred and in no page yet: they are outside of the budget.
    pub marked_objects: u64,
    /// Bytes of these.
    pub marked_bytes: u64,
    /// Bytes of objects that are free but kept in magazines.
    pub cached_bytes: u64,
    /// Bytes of objects that are free in their spans.
    pub free_bytes: u64,
    /// About the memory held: spans, unused units that are not purged yet, large objects, magazines. Not counted are the
    /// allocator's records and what the backing keeps.
    pub held_bytes: u64,
    /// Segments, in bytes of address space.
    pub segment_bytes: u64,
    /// Large objects in use.
    pub large_objects: u64,
    /// Bytes of them.
    pub large_bytes: u64,
    /// Magazines that stand in slots.
    pub magazines_in_slots: u64,
    /// Magazines with objects in the depot.
    pub magazines_in_depot: u64,
    /// Magazines that wait for a grace period: sealed pages.
    pub pages_pending: u64,
    /// Empty magazines in the depot; they are the reserve for atomic callers as well.
    pub magazines_empty: u64,
    /// All magazines there are: those in threads' hands, too; not those whose memory went back to the system.
    pub magazines: u64,
    /// Pre-faulted bytes ready for atomic callers.
    pub reserve_bytes: u64,
    /// Frees that were marked, since the process began.
    pub free_marks: u64,
    /// Deferrals that were marked, since the process began.
    pub deferred_marks: u64,
    /// Pages that came back as magazines, since the process began.
    pub pages_recycled: u64,
    /// Grace periods that have ended.
    pub grace_periods: u64,
    /// Times that a stalled grace period was reported.
    pub stall_reports: u64,
    /// Callers of `deferred_free` that waited because there was no page.
    pub inline_waits: u64,
    /// Nanoseconds that they waited, together.
    pub inline_wait_ns: u64,
    /// Destructors that wait.
    pub drops_pending: u64,
    /// Values that will never be dropped: there was no place for their entry.
    pub leaked_drops: u64,
    /// Times that a magazine was exchanged, since the process began.
    pub slow_paths: u64,
    /// Magazines lost because the kernel refused a membarrier, or, in a forked child, because a thread that is not there had
    /// them in hand (about: such threads are counted).
    pub lost_magazines: u64,
    /// About how many objects were lost with them.
    pub lost_objects: u64,
    /// One entry for each size class that has spans.
    pub classes: Vec<ClassStats>,
}

/// What is known of one size class; part of [`Stats`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ClassStats {
    /// Bytes of an object.
    pub bytes: usize,
    /// Objects that its spans have.
    pub objects: u64,
    /// Of those, in use by the program; about, while it runs, and with those that are marked.
    pub live: u64,
    /// Of those, free and kept in magazines.
    pub cached: u64,
    /// Of those, waiting for a grace period in pages.
    pub deferred: u64,
}

fn class_stats(class: SizeClass) -> ClassStats {
    let (objects, free) = slab::objects(class);
    let (cached, deferred) = (cache::cached_objects(class), deferred::pending_objects(class));
    let live = [free, cached, deferred].iter().fold(objects, |left, &n| left.saturating_sub(n));
    ClassStats { bytes: class.bytes(), objects, live, cached, deferred }
}

/// Looks at all counters; the time it takes grows with the number of CPUs. Allocates the list of classes, so it is not
/// for atomic context; takes no lock.
///
/// # Examples
/// ```
/// println!("{}", gracealloc::stats());
/// ```
pub fn stats() -> Stats {
    let classes: Vec<_> = SizeClass::all().map(class_stats).filter(|class| class.objects > 0).collect();
    let (slab, cache, deferred) = (slab::counts(), cache::counts(), deferred::counts());
    let (marked_objects, marked_bytes) = slab::marks::DEFERRED.waiting();
    let (inline_waits, inline_wait_ns) = defer::inline_waits();
    let sum = |count: fn(&ClassStats) -> u64| classes.iter().map(|c| c.bytes as u64 * count(c)).sum::<u64>();
    let units = (slab.units_used + slab.units_dirty) as u64 * slab::UNIT_BYTES as u64;
    Stats {
        rseq: slots::mode() == Some(Mode::Rseq),
        cells: slots::cells(),
        live_bytes: (sum(|c| c.live) + slab.large_bytes).saturating_sub(marked_bytes + deferred.large_bytes),
        deferred_bytes: sum(|c| c.deferred) + deferred.large_bytes,
        deferred_objects: classes.iter().map(|c| c.deferred).sum::<u64>() + deferred.large_objects,
        deferred_peak_bytes: deferred.peak_bytes,
        budget_bytes: deferred.budget,
        marked_objects,
        marked_bytes,
        cached_bytes: sum(|c| c.cached),
        free_bytes: sum(|c| c.objects.saturating_sub(c.live + c.cached + c.deferred)),
        held_bytes: units + slab.large_bytes + cache.bytes,
        segment_bytes: slab.segments as u64 * slab::SEGMENT_BYTES as u64,
        large_objects: slab.large_objects,
        large_bytes: slab.large_bytes,
        magazines_in_slots: cache.in_slots,
        magazines_in_depot: cache.in_depot,
        pages_pending: deferred.pages_pending,
        magazines_empty: cache.empty,
        magazines: cache.made,
        reserve_bytes: slab::reserve::bytes() as u64,
        free_marks: slab.free_marks,
        deferred_marks: deferred.marks,
        pages_recycled: deferred.pages_recycled,
        grace_periods: grace::ended(),
        stall_reports: deferred.stall_reports,
        inline_waits,
        inline_wait_ns,
        drops_pending: deferred.drops,
        leaked_drops: deferred.leaked_drops,
        slow_paths: cache.slow_paths,
        lost_magazines: cache.lost,
        lost_objects: cache.lost_objects,
        classes,
    }
}

impl Stats {
    fn write_deferred(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  deferred: {} objects, {} B (peak {} of {}), marked {} objects, {} B, {} destructors",
            self.deferred_objects,
            self.deferred_bytes,
            self.deferred_peak_bytes,
            self.budget_bytes,
            self.marked_objects,
            self.marked_bytes,
            self.drops_pending
        )?;
        writeln!(
            f,
            "  {} grace periods, {} pages recycled, {} deferred marks, {} inline waits ({} ns), {} stall reports",
            self.grace_periods,
            self.pages_recycled,
            self.deferred_marks,
            self.inline_waits,
            self.inline_wait_ns,
            self.stall_reports
        )
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.rseq { "restartable sequences" } else { "try-locks" };
        writeln!(f, "gracealloc: {} cells, {mode}", self.cells)?;
        writeln!(
            f,
            "  live {} B, cached {} B, free in spans {} B",
            self.live_bytes, self.cached_bytes, self.free_bytes
        )?;
        writeln!(f, "  held about {} B, segments {} B", self.held_bytes, self.segment_bytes)?;
        writeln!(f, "  large: {} objects, {} B", self.large_objects, self.large_bytes)?;
        writeln!(
            f,
            "  magazines: {} in slots, {} in the depot, {} pending, {} empty, {} in all",
            self.magazines_in_slots, self.magazines_in_depot, self.pages_pending, self.magazines_empty, self.magazines
        )?;
        self.write_deferred(f)?;
        writeln!(f, "  reserve {} B, free marks {}, lost {}", self.reserve_bytes, self.free_marks, self.lost_objects)?;
        writeln!(f, "  slow paths {}, destructors leaked {}", self.slow_paths, self.leaked_drops)?;
        for class in &self.classes {
            let ClassStats { bytes, objects, live, cached, deferred } = class;
            writeln!(f, "  class {bytes:>5} B: {objects} objects, {live} live, {cached} cached, {deferred} deferred")?;
        }
        Ok(())
    }
}
