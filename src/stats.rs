//! Statistics: every layer counts for itself, here it is added up.

use crate::platform::Magazine;
use crate::platform::slots::{self, Mode};
use crate::size_class::SizeClass;
use crate::{cache, slab};
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
    /// Empty magazines in the depot; they are the reserve for atomic callers as well.
    pub magazines_empty: u64,
    /// All magazines there are: those in threads' hands, too.
    pub magazines: u64,
    /// Pre-faulted bytes ready for atomic callers.
    pub reserve_bytes: u64,
    /// Frees that were marked, since the process began.
    pub free_marks: u64,
    /// Magazines lost because the kernel refused a membarrier.
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
    /// Of those, in use by the program.
    pub live: u64,
    /// Of those, free and kept in magazines.
    pub cached: u64,
}

fn class_stats(class: SizeClass) -> ClassStats {
    let (objects, free) = slab::objects(class);
    let cached = cache::cached_objects(class).min(objects - free.min(objects));
    ClassStats { bytes: class.bytes(), objects, live: objects - free.min(objects) - cached, cached }
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
    let (slab, cache) = (slab::counts(), cache::counts());
    let sum = |count: fn(&ClassStats) -> u64| classes.iter().map(|c| c.bytes as u64 * count(c)).sum::<u64>();
    let units = (slab.units_used + slab.units_dirty) as u64 * slab::UNIT_BYTES as u64;
    let magazine_bytes = cache.made * size_of::<Magazine>() as u64;
    Stats {
        rseq: slots::mode() == Some(Mode::Rseq),
        cells: slots::cells(),
        live_bytes: sum(|c| c.live) + slab.large_bytes,
        cached_bytes: sum(|c| c.cached),
        free_bytes: sum(|c| c.objects - c.live - c.cached),
        held_bytes: units + slab.large_bytes + magazine_bytes,
        segment_bytes: slab.segments as u64 * slab::SEGMENT_BYTES as u64,
        large_objects: slab.large_objects,
        large_bytes: slab.large_bytes,
        magazines_in_slots: cache.in_slots,
        magazines_in_depot: cache.in_depot,
        magazines_empty: cache.empty,
        magazines: cache.made,
        reserve_bytes: slab::reserve::bytes() as u64,
        free_marks: slab.free_marks,
        lost_magazines: cache.lost,
        lost_objects: cache.lost_objects,
        classes,
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
            "  magazines: {} in slots, {} in the depot, {} empty, {} in all",
            self.magazines_in_slots, self.magazines_in_depot, self.magazines_empty, self.magazines
        )?;
        writeln!(f, "  reserve {} B, free marks {}, lost {}", self.reserve_bytes, self.free_marks, self.lost_objects)?;
        for class in &self.classes {
            let ClassStats { bytes, objects, live, cached } = class;
            writeln!(f, "  class {bytes:>5} B: {objects} objects, {live} live, {cached} cached")?;
        }
        Ok(())
    }
}
