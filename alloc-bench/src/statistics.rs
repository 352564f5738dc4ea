//! Medians, and how far the ratio of two of them can be trusted.
//!
//! The speed of a shared machine drifts by half and more within minutes, so only ratios within one run count, and only
//! when the allocators take turns. The interval is a percentile bootstrap over *rounds*: a resample draws whole rounds,
//! with the samples of all allocators in them, so that a slow minute weighs on both sides of the ratio. The best peer is
//! chosen anew in each resample; otherwise the interval would pretend that nobody had to choose.
//! With a handful of rounds such an interval is a rough guide: it cannot see what no round has shown. To try it on a
//! machine, give the driver a `--children-dir` in which one child is a copy of another: nearly all intervals should
//! then contain 1.

use serde::Serialize;

/// How many resamples the interval is made of.
const RESAMPLES: usize = 4000;

/// The middle value; of an even number of values the mean of the two in the middle. `None` if there are none.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some((lower + upper) / 2.0)
}

/// The geometric mean of positive values, `None` if there are none.
pub fn geometric_mean(values: &[f64]) -> Option<f64> {
    let logarithms: f64 = values.iter().map(|value| value.ln()).sum();
    (!values.is_empty()).then(|| (logarithms / values.len() as f64).exp())
}

/// Half the width of the middle half of the values, relative to their median: how noisy they are.
pub fn spread(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    Some((quantile(&sorted, 0.75)? - quantile(&sorted, 0.25)?) / 2.0 / median(values)?)
}

/// Linear interpolation between the two nearest of `sorted`.
fn quantile(sorted: &[f64], at: f64) -> Option<f64> {
    let place = at * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    Some(below + (above - below) * place.fract())
}

/// Our median by the best peer's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// The peer with the smallest median, by its place in the arguments.
    #[serde(skip)]
    pub best: usize,
    /// The ratio; below 1 we are better.
    pub value: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of the 95 % interval.
    pub high: f64,
}

/// Compares `ours` with the best of `peers`; the n-th value of each was taken in the n-th round. `None` without peers or
/// rounds.
///
/// # Panics
///
/// If the slices differ in length.
pub fn ratio_to_best(ours: &[f64], peers: &[&[f64]], seed: u64) -> Option<Ratio> {
    assert!(peers.iter().all(|peer| peer.len() == ours.len()), "samples are paired by round");
    let every: Vec<usize> = (0..ours.len()).collect();
    let (best, value) = ratio_of(ours, peers, &every)?;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut resample = || {
        let rounds: Vec<usize> = every.iter().map(|_| random.usize(..every.len())).collect();
        ratio_of(ours, peers, &rounds).map(|(_, value)| value)
    };
    let mut ratios = (0..RESAMPLES).map(|_| resample()).collect::<Option<Vec<f64>>>()?;
    ratios.sort_by(f64::total_cmp);
    Some(Ratio { best, value, low: quantile(&ratios, 0.025)?, high: quantile(&ratios, 0.975)? })
}

/// The best peer in these rounds and the ratio to it.
fn ratio_of(ours: &[f64], peers: &[&[f64]], rounds: &[usize]) -> Option<(usize, f64)> {
    let median_in = |values: &[f64]| median(&rounds.iter().map(|&round| values[round]).collect::<Vec<_>>());
    let medians = peers.iter().map(|peer| median_in(peer)).collect::<Option<Vec<f64>>>()?;
    let (best, least) = medians.into_iter().enumerate().min_by(|one, other| one.1.total_cmp(&other.1))?;
    Some((best, median_in(ours)? / least))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_known_values() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 100.0]), Some(3.0));
    }

    #[test]
    fn geometric_means_of_known_values() {
        assert_eq!(geometric_mean(&[]), None);
        assert!((geometric_mean(&[1.0, 4.0, 16.0]).unwrap() - 4.0).abs() < 1e-12);
    }

    #[test]
    fn spread_is_half_the_middle_half() {
        assert_eq!(spread(&[1.0, 2.0, 3.0, 4.0, 5.0]), Some(1.0 / 3.0));
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn the_best_peer_has_the_smallest_median() {
        let ratio = ratio_to_best(&[2.0; 5], &[&[8.0; 5], &[4.0; 5]], 1).unwrap();
        assert_eq!(ratio, Ratio { best: 1, value: 0.5, low: 0.5, high: 0.5 });
    }

    #[test]
    fn rounds_are_resampled_whole() {
        // Both sides are ten times slower in some rounds: paired by round, the ratio does not move.
        let drifting = [1.0, 10.0, 1.0, 10.0, 10.0, 1.0, 1.0];
        let doubled: Vec<f64> = drifting.iter().map(|value| value * 2.0).collect();
        let ratio = ratio_to_best(&doubled, &[&drifting], 1).unwrap();
        assert_eq!((ratio.low, ratio.value, ratio.high), (2.0, 2.0, 2.0));
    }

    #[test]
    fn the_interval_of_a_median_matches_the_exact_bootstrap() {
        // Of 1..=7 the resampled median is at most 2 with probability 10.1 % and at most 1 with 0.9 % (at least four of
        // seven draws): the 2.5 % quantile is 2, by symmetry the 97.5 % one is 6.
        let ours = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
        let ratio = ratio_to_best(&ours, &[&[1.0; 7]], 42).unwrap();
        assert_eq!((ratio.low, ratio.value, ratio.high), (2.0, 4.0, 6.0));
    }

    #[test]
    fn no_rounds_or_no_peers_give_no_ratio() {
        assert_eq!(ratio_to_best(&[], &[&[]], 1), None);
        assert_eq!(ratio_to_best(&[1.0], &[], 1), None);
    }
}
