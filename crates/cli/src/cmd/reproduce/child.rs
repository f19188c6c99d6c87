//! A line of this program as a process of its own.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::fail::{STOPPED, UNSOUND};
use crate::interrupt;
use crate::progress::Style;

/// Between two looks at it. A Ctrl-C on a terminal reaches it too: handed on this soon, both are one wish.
const PAUSE: Duration = Duration::from_millis(50);

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Well.
    Done,
    /// By Ctrl-C.
    Stopped,
    /// An attack beat a certificate.
    Unsound,
    /// With this code; none where a signal ended it.
    Failed(Option<i32>),
}

/// Runs a line; its output goes to a file, or to ours. Words and progress are passed through.
pub fn run(line: &[String], log: Option<&Path>) -> Result<End> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let output = match log {
        None => Stdio::inherit(),
        Some(log) => {
            let file = File::create(log);
            file.with_context(|| format!("cannot write {}", log.display()))?
                .into()
        }
    };
    let mut command = Command::new(program);
    if let Some(style) = Style::chosen().to_possible_value() {
        command.args(["--progress", style.get_name()]);
    }
    let command = command.args(line).stdin(Stdio::null()).stdout(output);
    let mut child = command.spawn().context("cannot start this program again")?;
    let status = wait(&mut child)?;
    Ok(end(status, interrupt::asked()))
}

/// Waits for it; Ctrl-C is handed on, once.
fn wait(child: &mut Child) -> Result<ExitStatus> {
    let mut told = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if interrupt::asked() && !told {
            told = true;
            stop(child)?;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Asks it to stop at its next step; where there is no way to ask, ends it: what it has written goes on either way.
fn stop(child: &mut Child) -> Result<()> {
    let id = child.id().to_string();
    let asked = Command::new("kill").args(["-INT", &id]).status();
    match asked {
        Ok(status) if status.success() => Ok(()),
        _ => Ok(child.kill()?),
    }
}

fn end(status: ExitStatus, asked: bool) -> End {
    match status.code() {
        Some(0) => End::Done,
        Some(code) if code == i32::from(UNSOUND) => End::Unsound,
        Some(code) if code == i32::from(STOPPED) => End::Stopped,
        _ if asked => End::Stopped,
        code => End::Failed(code),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn a_beaten_certificate_is_never_taken_for_something_else() {
        let exit = |code: i32| ExitStatus::from_raw(code << 8);
        assert_eq!(end(exit(0), true), End::Done);
        assert_eq!(end(exit(3), true), End::Unsound);
        assert_eq!(end(exit(130), false), End::Stopped);
        assert_eq!(end(exit(2), true), End::Stopped);
        assert_eq!(end(exit(2), false), End::Failed(Some(2)));
        // ended by a signal
        assert_eq!(end(ExitStatus::from_raw(9), false), End::Failed(None));
        assert_eq!(end(ExitStatus::from_raw(2), true), End::Stopped);
    }
}
