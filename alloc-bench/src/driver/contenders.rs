//! Who is measured: an allocator, and where the workload retires objects, an allocator with a scheme.

use alloc_bench::allocators::Allocator;
use alloc_bench::schemes::Named;
use alloc_bench::workloads::{Retires, Spec};

use super::options::Options;

/// One that takes its turn in every round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contender {
    pub(crate) allocator: &'static Allocator,
    pub(crate) scheme: Option<&'static Named>,
}

/// Those that the options leave for a workload, in the order of the tables: scheme by scheme.
pub(crate) fn of(workload: &Spec, options: &Options) -> Vec<Contender> {
    let mut schemes = workload.retires.schemes();
    schemes.retain(|scheme| options.schemes().iter().any(|chosen| chosen.name == scheme.name));
    let allocators = options.allocators();
    let with = |scheme| allocators.iter().filter_map(move |allocator| pair(allocator, scheme));
    let first = |&allocator| schemes.iter().find_map(|scheme| pair(allocator, scheme));
    match workload.retires {
        Retires::Nothing => allocators.iter().map(|allocator| Contender { allocator, scheme: None }).collect(),
        Retires::ByFirst(_) => allocators.iter().filter_map(first).collect(),
        Retires::ByEach | Retires::ByThose(_) => schemes.iter().flat_map(|scheme| with(scheme)).collect(),
        Retires::OnOne(_) => schemes.iter().filter_map(|scheme| with(scheme).next()).collect(),
    }
}

/// The two together, if the allocator has the scheme.
fn pair(allocator: &'static Allocator, scheme: &'static Named) -> Option<Contender> {
    (allocator.is_ours || !scheme.is_ours).then_some(Contender { allocator, scheme: Some(scheme) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc_bench::workloads;
    use clap::Parser;

    fn names(workload: &str, line: &str) -> Vec<(&'static str, Option<&'static str>)> {
        let options = Options::parse_from(["alloc-bench"].into_iter().chain(line.split_whitespace()));
        let contenders = of(workloads::find(workload).unwrap(), &options);
        contenders.iter().map(|one| (one.allocator.name, one.scheme.map(|scheme| scheme.name))).collect()
    }

    #[test]
    fn plain_workloads_have_one_per_allocator_and_no_scheme() {
        assert_eq!(names("pair-64", "--allocator gracealloc,system"), [("gracealloc", None), ("system", None)]);
    }

    #[test]
    fn the_source_index_takes_the_first_scheme_that_an_allocator_has() {
        let line = "--allocator gracealloc,system";
        let first = [("gracealloc", Some("deferred_free")), ("system", Some("defer_destroy"))];
        assert_eq!(names("source-index", line), first);
        let second = [("gracealloc", Some("defer_destroy")), ("system", Some("defer_destroy"))];
        assert_eq!(names("source-index", &format!("{line} --scheme defer_destroy")), second);
        assert!(names("source-index", "--scheme leak").is_empty());
    }

    #[test]
    fn schemes_meet_every_allocator_but_ours_only_our_own() {
        let line = "--allocator gracealloc,system --scheme immediate,deferred_free";
        let ours = ("gracealloc", Some("deferred_free"));
        let others = [("gracealloc", Some("immediate")), ("system", Some("immediate"))];
        assert_eq!(names("defer-64", line), [ours, others[0], others[1]]);
    }

    #[test]
    fn where_the_allocator_does_not_matter_each_scheme_comes_once() {
        let ours = ("gracealloc", Some("deferred_free"));
        let (crossbeam, seize) = (("gracealloc", Some("defer_destroy")), ("gracealloc", Some("seize")));
        assert_eq!(names("read-section", "--scheme deferred_free,defer_destroy,seize,leak"), [ours, crossbeam, seize]);
        assert_eq!(names("read-section", "--scheme seize --allocator system"), [("system", Some("seize"))]);
        assert!(names("synchronize", "--scheme seize,immediate").is_empty());
    }
}
