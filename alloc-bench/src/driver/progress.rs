//! A progress bar with the time left where standard error is a terminal, a line per finished row where it is not.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shows how far the measurements are.
///
/// The bar is redrawn between measurements only: a thread that redraws it by the clock would disturb them.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Starts the bar at none of `measurements`.
    ///
    /// # Panics
    ///
    /// Never: the template is a constant that indicatif accepts.
    pub(crate) fn start(measurements: u64) -> Self {
        let target =
            if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(measurements), target);
        let template = "{bar:40} {pos}/{len}  {eta} left  {msg}";
        bar.set_style(ProgressStyle::with_template(template).expect("a constant template"));
        Self(bar)
    }

    /// Says what is measured now.
    pub(crate) fn row(&self, workload: &str, threads: usize) {
        self.0.set_message(format!("{workload} ×{threads}"));
    }

    /// One measurement more is done.
    pub(crate) fn step(&self) {
        self.0.inc(1);
    }

    /// A row is done.
    pub(crate) fn row_done(&self, took: Duration) {
        if self.0.is_hidden() {
            let (done, all) = (self.0.position(), self.0.length().unwrap_or(0));
            eprintln!("{done}/{all}  {}: {:.1} s", self.0.message(), took.as_secs_f64());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
