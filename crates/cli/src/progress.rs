//! Progress on standard error: bars with rates and time left on a terminal, plain lines elsewhere,
//! or JSON lines for programs.

use std::io::IsTerminal;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use serde_json::json;

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Style {
    /// Bars on a terminal, plain lines elsewhere.
    Auto,
    /// A line every ten seconds.
    Plain,
    /// A JSON object per line: progress twice a second, and all other words as `message`.
    Json,
}

static STYLE: OnceLock<Style> = OnceLock::new();

impl Style {
    /// Chooses it for the whole program; the first choice holds.
    pub fn choose(self) {
        let _ = STYLE.set(self);
    }

    /// The choice that holds.
    pub fn chosen() -> Self {
        *STYLE.get().unwrap_or(&Self::Auto)
    }
}

/// A line on standard error, in the style chosen; a closed one is no reason to stop.
pub fn tell(words: &str) {
    use std::io::Write;
    let line = match Style::chosen() {
        Style::Json => json!({ "message": words }).to_string(),
        _ => words.to_owned(),
    };
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Progress of a known number of like things.
pub struct Progress {
    what: String,
    unit: &'static str,
    total: u64,
    /// Things done by earlier sessions.
    before: u64,
    start: Instant,
    view: View,
}

enum View {
    Bar(ProgressBar),
    /// The time of the last line, and the time between two.
    Lines(Mutex<Instant>, Duration),
}

impl Progress {
    /// Of `total` things; `what` names them.
    pub fn new(what: &str, total: usize) -> Self {
        Self::from(what, "", 0, total)
    }

    /// As [`Progress::new`] of a work that had done some things `before`, and is counted in `unit`.
    pub fn from(what: &str, unit: &'static str, before: usize, total: usize) -> Self {
        let start = Instant::now();
        let lines = |pause| View::Lines(Mutex::new(start), pause);
        let view = match Style::chosen() {
            Style::Auto if std::io::stderr().is_terminal() => {
                let bar = bar(what, total as u64);
                bar.set_position(before as u64);
                bar.reset_eta();
                View::Bar(bar)
            }
            Style::Json => lines(Duration::from_millis(500)),
            _ => lines(Duration::from_secs(10)),
        };
        Self {
            what: what.to_owned(),
            unit,
            total: total as u64,
            before: before as u64,
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
            View::Lines(last, pause) => {
                // a poisoned clock is still a clock
                let mut last = last.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                if last.elapsed() >= *pause {
                    *last = Instant::now();
                    self.line(done as u64, note);
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
            View::Lines(..) => tell(line),
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let View::Bar(bar) = &self.view {
            bar.finish_and_clear();
        }
    }

    fn line(&self, done: u64, note: &str) {
        let seconds = self.start.elapsed().as_secs_f64();
        let rate = done.saturating_sub(self.before) as f64 / seconds;
        let left = self.total.saturating_sub(done) as f64 / rate;
        let Self {
            what, total, unit, ..
        } = self;
        if Style::chosen() == Style::Json {
            let (rate, eta) = (finite(rate), finite(left));
            let line = json!({ "progress": what, "done": done, "total": total, "rate": rate,
                "eta_seconds": eta, "note": note });
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "{line}");
        } else {
            let eta = if left.is_finite() {
                format!("{left:.0} s")
            } else {
                "?".to_owned()
            };
            tell(&format!(
                "{what} {done}/{total}  {rate:.2}{unit}/s  eta {eta}  {note}"
            ));
        }
    }
}

/// JSON has no infinity.
fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// Progress of a training: a bar of epochs over a bar of steps.
pub struct Training {
    steps: u64,
    /// Bars of epochs, on a terminal.
    epochs: Option<ProgressBar>,
    inner: Progress,
    pictures: Mutex<(u64, Instant)>,
}

impl Training {
    /// Of `epochs` with so many steps each, of which `done` were done before.
    pub fn new(epochs: u64, steps: u64, done: u64) -> Self {
        let mut inner = Progress::from("step", " steps", done as usize, (epochs * steps) as usize);
        let mut outer = None;
        if let View::Bar(bar) = &mut inner.view {
            let both = MultiProgress::new();
            let above = both.add(self::bar("epoch", epochs));
            above.set_position(done / steps);
            above.reset_eta();
            *bar = both.add(self::bar("step ", steps));
            outer = Some(above);
        }
        Self {
            steps,
            epochs: outer,
            inner,
            pictures: Mutex::new((0, Instant::now())),
        }
    }

    /// A step of an epoch, both counted from 1, is done with so many pictures.
    pub fn step(&self, epoch: u64, step: u64, pictures: usize, note: &str) {
        let mut seen = self.pictures.lock().unwrap_or_else(|p| p.into_inner());
        seen.0 += pictures as u64;
        let rate = seen.0 as f64 / seen.1.elapsed().as_secs_f64();
        let note = format!("{rate:.1} images/s  {note}");
        match &self.epochs {
            Some(above) => {
                above.set_position(epoch - 1);
                self.inner.set(step as usize, &note);
            }
            None => {
                let done = (epoch - 1) * self.steps + step;
                self.inner.set(done as usize, &note);
            }
        }
    }

    /// An epoch is done; `line` says how it went.
    pub fn epoch(&self, epoch: u64, line: &str) {
        self.inner.say(line);
        if let (Some(above), View::Bar(bar)) = (&self.epochs, &self.inner.view) {
            above.set_position(epoch);
            bar.reset();
        }
        // what came between two epochs is no training
        let mut seen = self.pictures.lock().unwrap_or_else(|p| p.into_inner());
        *seen = (0, Instant::now());
    }

    /// Removes the bars.
    pub fn finish(&self) {
        if let Some(above) = &self.epochs {
            above.finish_and_clear();
        }
        self.inner.finish();
    }
}

fn bar(what: &str, total: u64) -> ProgressBar {
    let template = "{prefix} [{bar:32}] {pos}/{len}  {rate}  eta {eta}  {msg}";
    let bar = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template(template) {
        let rate = |state: &ProgressState, line: &mut dyn std::fmt::Write| {
            let _ = write!(line, "{:.2}/s", state.per_sec());
        };
        bar.set_style(style.with_key("rate", rate).progress_chars("=> "));
    }
    bar.set_prefix(what.to_owned());
    bar
}
