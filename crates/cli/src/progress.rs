//! Progress on standard error: a bar with rate and time left on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Time between plain lines.
const QUIET: Duration = Duration::from_secs(10);

/// Progress of a known number of like things.
pub struct Progress {
    what: String,
    total: u64,
    start: Instant,
    view: View,
}

enum View {
    Bar(ProgressBar),
    Lines(Mutex<Instant>),
}

impl Progress {
    /// Of `total` things; `what` names them.
    pub fn new(what: &str, total: usize) -> Self {
        let start = Instant::now();
        let view = match std::io::stderr().is_terminal() {
            true => View::Bar(bar(what, total as u64)),
            false => View::Lines(Mutex::new(start)),
        };
        Self {
            what: what.to_owned(),
            total: total as u64,
            start,
            view,
        }
    }

    /// `done` things are done; `note` says something about the last.
    pub fn set(&self, done: usize, note: &str) {
        match &self.view {
            View::Bar(bar) => {
                bar.set_message(note.to_owned());
                bar.set_position(done as u64);
            }
            View::Lines(last) => {
                // a poisoned clock is still a clock
                let mut last = last.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                if last.elapsed() >= QUIET {
                    *last = Instant::now();
                    say!("{}", self.line(done as u64, note));
                }
            }
        }
    }

    /// Counts one more thing with every call.
    pub fn counter(&self) -> impl FnMut() + Send {
        let mut done = 0;
        move || {
            done += 1;
            self.set(done, "");
        }
    }

    /// Prints a line of its own, above a bar.
    pub fn say(&self, line: &str) {
        match &self.view {
            View::Bar(bar) => bar.println(line),
            View::Lines(_) => say!("{line}"),
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let View::Bar(bar) = &self.view {
            bar.finish_and_clear();
        }
    }

    fn line(&self, done: u64, note: &str) -> String {
        let seconds = self.start.elapsed().as_secs_f64();
        let rate = done as f64 / seconds;
        let left = self.total.saturating_sub(done) as f64 / rate;
        let (what, total) = (&self.what, self.total);
        format!("{what} {done}/{total}  {rate:.2}/s  eta {left:.0} s  {note}")
    }
}

fn bar(what: &str, total: u64) -> ProgressBar {
    let template = "{prefix} [{bar:32}] {pos}/{len}  {per_sec}  eta {eta}  {msg}";
    let bar = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(what.to_owned());
    bar
}
