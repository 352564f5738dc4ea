//! The command line.

use std::path::PathBuf;

use alloc_bench::allocators::{self, Allocator, Home};
use alloc_bench::protocol::Kfree;
use alloc_bench::schemes::{self, Named};
use alloc_bench::workloads::{self, Measures, Spec, grace_threads, kfree_twin};
use clap::Parser;
use clap::builder::{PossibleValuesParser, RangedU64ValueParser};

use super::goals::Ground;

/// The kfree twin's parameters if none are given.
const KFREE: Kfree = Kfree::DEFAULT;

/// Compares gracealloc with other allocators. Without options: the main peers and workloads, in less than two minutes on
/// two processors.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Options {
    /// Everything that --workload and --allocator do not narrow: all workloads, all allocators. Needs a C++ compiler,
    /// and half an hour
    #[arg(long)]
    all: bool,

    /// All workloads that compare schemes and no others: readers, grace periods, deferral
    #[arg(long, conflicts_with_all = ["all", "workload"])]
    deferral: bool,

    /// Only these workloads [default: the main ones, with --all every one]
    #[arg(long, value_name = "NAME,..", value_delimiter = ',', value_parser = workload_names())]
    workload: Vec<String>,

    /// Only these allocators [default: the main ones, with --all every one]
    #[arg(long, value_name = "NAME,..", value_delimiter = ',', value_parser = allocator_names())]
    allocator: Vec<String>,

    /// Only these ways to give back what readers may still see [default: all]
    #[arg(long, value_name = "NAME,..", value_delimiter = ',', value_parser = scheme_names())]
    scheme: Vec<String>,

    /// How many threads share a workload
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_values = ["1", "2"], value_parser = threads)]
    threads: Vec<usize>,

    /// The kfree twin's threads [default: as many as there are processors]
    #[arg(long = "kfree_nthreads", value_name = "N,..", value_delimiter = ',', value_parser = threads)]
    kfree_nthreads: Vec<usize>,

    /// How often a thread of the kfree twin goes through its allocations
    #[arg(long = "kfree_loops", value_name = "N", default_value_t = KFREE.kfree_loops, value_parser = count())]
    kfree_loops: u64,

    /// The kfree twin's allocations in a loop
    #[arg(long = "kfree_alloc_num", value_name = "N", default_value_t = KFREE.kfree_alloc_num, value_parser = count())]
    kfree_alloc_num: u64,

    /// The size of the kfree twin's objects, in units of 24 B
    #[arg(long = "kfree_mult", value_name = "N", default_value_t = KFREE.kfree_mult, value_parser = kfree_mult)]
    kfree_mult: usize,

    /// How often each allocator is measured [default: 11, with --quick 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,

    /// Factor on the number of operations [default: 1, with --quick 0.01]
    #[arg(long, value_name = "FACTOR", value_parser = scale)]
    scale: Option<f64>,

    /// A short run that shows that everything works; its figures mean little
    #[arg(long)]
    quick: bool,

    /// Write every sample and every figure to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Write every table to this file, as a document in Markdown
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,

    /// Show workloads and allocators, measure nothing
    #[arg(long)]
    pub(crate) list: bool,

    /// Start of all pseudo-random sequences
    #[arg(long, value_name = "NUMBER", default_value_t = 20_200_225)]
    pub(crate) seed: u64,

    /// Build the children for this target, which must run here: x86_64-unknown-linux-musl, say. Its C compiler is needed
    #[arg(long, value_name = "TRIPLE", conflicts_with = "children_dir")]
    pub(crate) target: Option<String>,

    /// Take the child binaries from here instead of building them
    #[arg(long, value_name = "DIR")]
    pub(crate) children_dir: Option<PathBuf>,
}

impl Options {
    /// The chosen workloads, in the registry's order.
    pub(crate) fn workloads(&self) -> Vec<&'static Spec> {
        let chosen = |spec: &&Spec| self.chosen(&self.workload, spec.name, spec.by_default);
        let of_schemes = |spec: &&Spec| spec.retires.is_by_scheme();
        workloads::ALL.iter().filter(|spec| if self.deferral { of_schemes(spec) } else { chosen(spec) }).collect()
    }

    /// The chosen allocators, in the registry's order.
    pub(crate) fn allocators(&self) -> Vec<&'static Allocator> {
        let chosen = |one: &&Allocator| self.chosen(&self.allocator, one.name, one.home == Home::Here);
        allocators::ALL.iter().filter(chosen).collect()
    }

    /// Whether a name is meant: it is in the list, or there is no list and it is a main one (or all are wanted).
    fn chosen(&self, list: &[String], name: &str, by_default: bool) -> bool {
        if list.is_empty() { self.all || by_default } else { list.iter().any(|one| one == name) }
    }

    /// The chosen schemes, in the registry's order.
    pub(crate) fn schemes(&self) -> Vec<&'static Named> {
        let chosen = |one: &&Named| self.scheme.is_empty() || self.scheme.iter().any(|name| name == one.name);
        schemes::ALL.iter().filter(chosen).collect()
    }

    /// The packages that the chosen allocators and schemes consist of.
    pub(crate) fn packages(&self) -> impl Iterator<Item = &'static str> {
        let of_allocators = self.allocators().into_iter().flat_map(|allocator| allocator.packages);
        of_allocators.chain(self.schemes().into_iter().flat_map(|scheme| scheme.packages)).copied()
    }

    /// What gracealloc will run on, as far as the command says.
    pub(crate) fn ground(&self) -> Ground {
        let without = std::env::var_os("GRACEALLOC_RSEQ").is_some_and(|value| value == "0");
        match &self.target {
            Some(target) if target.contains("musl") => Ground::Musl,
            _ if without => Ground::Fallback,
            _ => Ground::Sections,
        }
    }

    /// The numbers of threads that a workload is measured with.
    pub(crate) fn threads(&self, workload: &Spec) -> Vec<usize> {
        match self.kfree_nthreads.as_slice() {
            _ if !matches!(workload.measures, Measures::Time | Measures::Waits) => vec![1],
            _ if workload.name == grace_threads::SPEC.name => grace_threads::THREADS.to_vec(),
            _ if workload.name != kfree_twin::SPEC.name => self.threads.clone(),
            [] => vec![std::thread::available_parallelism().map_or(1, usize::from)],
            chosen => chosen.to_vec(),
        }
    }

    /// The kfree twin's parameters.
    pub(crate) fn kfree(&self) -> Kfree {
        let Self { kfree_loops, kfree_alloc_num, kfree_mult, .. } = *self;
        Kfree { kfree_loops, kfree_alloc_num, kfree_mult }
    }

    /// How many rounds.
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 2 } else { 11 })
    }

    /// The factor on the number of operations.
    pub(crate) fn scale(&self) -> f64 {
        self.scale.unwrap_or(if self.quick { 0.01 } else { 1.0 })
    }
}

fn workload_names() -> PossibleValuesParser {
    PossibleValuesParser::new(workloads::ALL.iter().map(|spec| spec.name))
}

fn allocator_names() -> PossibleValuesParser {
    PossibleValuesParser::new(allocators::ALL.iter().map(|allocator| allocator.name))
}

fn scheme_names() -> PossibleValuesParser {
    PossibleValuesParser::new(schemes::ALL.iter().map(|scheme| scheme.name))
}

fn count() -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(1..=1 << 32)
}

fn kfree_mult(text: &str) -> Result<usize, String> {
    let known = text.parse().ok().filter(|mult| Kfree::MULTS.contains(mult));
    known.ok_or_else(|| format!("expected one of {:?}", Kfree::MULTS))
}

fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads @ 1..=1024) => Ok(threads),
        _ => Err("expected a number from 1 to 1024".to_owned()),
    }
}

fn scale(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(scale) if (1e-6..=1e4).contains(&scale) => Ok(scale),
        _ => Err("expected a number from 0.000001 to 10000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc_bench::workloads::first_touch;

    fn parse(line: &str) -> Result<Options, clap::Error> {
        Options::try_parse_from(["alloc-bench"].into_iter().chain(line.split_whitespace()))
    }

    fn pair() -> &'static Spec {
        workloads::find("pair-64").unwrap()
    }

    #[test]
    fn the_default_is_the_main_peers_and_workloads() {
        let options = parse("").unwrap();
        assert!(options.workloads().iter().all(|spec| spec.by_default));
        let names: Vec<_> = options.allocators().iter().map(|allocator| allocator.name).collect();
        assert_eq!(names, ["gracealloc", "jemalloc", "mimalloc", "system"]);
        assert_eq!(options.schemes().len(), schemes::ALL.len());
        assert_eq!((options.threads(pair()), options.rounds(), options.scale()), (vec![1, 2], 11, 1.0));
        assert_eq!(options.threads(&kfree_twin::SPEC).len(), 1);
        assert_eq!(options.threads(&first_touch::SPEC), [1]);
        assert_eq!(options.kfree(), KFREE);
    }

    #[test]
    fn all_is_what_no_list_narrows() {
        let counts = |line| parse(line).map(|it| (it.workloads().len(), it.allocators().len())).unwrap();
        assert_eq!(counts("--all"), (workloads::ALL.len(), allocators::ALL.len()));
        assert_eq!(counts("--all --workload pair-64"), (1, allocators::ALL.len()));
        assert_eq!(counts("--all --allocator snmalloc,system"), (workloads::ALL.len(), 2));
    }

    #[test]
    fn deferral_is_what_compares_schemes() {
        let options = parse("--deferral").unwrap();
        let names: Vec<_> = options.workloads().iter().map(|spec| spec.name).collect();
        assert!(["read-section", "defer-64", "kfree-twin", "flood-10m"].iter().all(|name| names.contains(name)));
        assert!(!names.contains(&"source-index") && !names.contains(&"pair-64"));
        let threads = |name| options.threads(workloads::find(name).unwrap());
        assert_eq!((threads("grace-threads"), threads("flood-10m")), (vec![2, 2000], vec![1]));
        assert_eq!(threads("synchronize"), [1, 2]);
        assert!(parse("--deferral --all").is_err());
    }

    #[test]
    fn lists_are_separated_by_commas() {
        let options = parse("--workload pair-64,source-index --allocator system --threads 4").unwrap();
        assert_eq!(options.workloads().iter().map(|spec| spec.name).collect::<Vec<_>>(), ["pair-64", "source-index"]);
        assert_eq!((options.allocators().len(), options.threads(pair())), (1, vec![4]));
    }

    #[test]
    fn the_twins_parameters_have_the_kernels_names() {
        let options = parse("--kfree_nthreads 3 --kfree_loops 10 --kfree_alloc_num 5 --kfree_mult 4").unwrap();
        assert_eq!(options.kfree(), Kfree { kfree_loops: 10, kfree_alloc_num: 5, kfree_mult: 4 });
        assert_eq!((options.threads(&kfree_twin::SPEC), options.threads(pair())), (vec![3], vec![1, 2]));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "--workload nap",
            "--allocator none",
            "--threads 0",
            "--rounds 0",
            "--scale nan",
            "--scale -1",
            "--scheme hope",
            "--kfree_loops 0",
            "--kfree_mult 3",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
