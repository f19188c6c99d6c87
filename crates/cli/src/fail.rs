//! Exit codes and the shape of error messages.
//!
//! 0 done; 1 a stated requirement failed (`data verify`); 2 wrong use, unreadable or inconsistent input, output
//! that cannot be written; 3 an attack beat a deterministic certificate; 130 stopped by Ctrl-C.

use std::io::ErrorKind;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// All went well.
const DONE: u8 = 0;
/// A stated requirement failed.
pub const REQUIREMENT: u8 = 1;
/// Wrong use, bad input, failed output.
pub const BAD_INPUT: u8 = 2;
/// An attack beat a certificate: must never happen.
pub const UNSOUND: u8 = 3;
/// Stopped by Ctrl-C.
pub const STOPPED: u8 = 130;

/// Whether a row of this run said so.
static BEATEN: AtomicBool = AtomicBool::new(false);

/// An attack beat a certificate: no error behind that hides it.
pub fn beaten() {
    BEATEN.store(true, Ordering::SeqCst);
}

/// This exit code, unless a certificate was beaten, which is then said.
pub fn unless_beaten(code: u8) -> u8 {
    let beaten = BEATEN.load(Ordering::SeqCst);
    if beaten {
        say!("UNSOUND: an attack beat a certificate before this ended");
    }
    either(beaten, code)
}

fn either(beaten: bool, code: u8) -> u8 {
    match beaten {
        true => UNSOUND,
        false => code,
    }
}

/// A mistake in how the program was called, with the way out.
#[derive(Debug)]
pub struct Usage {
    message: String,
    hint: String,
}

impl Usage {
    /// What is wrong, and what to do instead.
    pub fn error(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self {
            message: message.into(),
            hint: hint.into(),
        })
    }
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Usage {}

/// Prints `error: ...`, a blank line and `hint: ...` where there is one.
pub fn report(error: &anyhow::Error) -> ExitCode {
    // the reader of our output went away: nothing to tell it
    let closed = pipe_closed(error);
    if !closed {
        say!("error: {}", message(error));
        if let Some(hint) = hint(error) {
            say!("\nhint: {hint}");
        }
    }
    ExitCode::from(unless_beaten(if closed { DONE } else { BAD_INPUT }))
}

/// Whether the reader of an output went away.
pub fn pipe_closed(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>();
        io.is_some_and(|io| io.kind() == ErrorKind::BrokenPipe)
    })
}

/// The causes joined by colons; one that repeats the end of the line is left out.
fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if message.is_empty() {
            message = text;
        } else if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
    }
    message
}

fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        let usage = cause
            .downcast_ref::<Usage>()
            .map(|usage| usage.hint.clone());
        let net = || cause.downcast_ref::<certiseg_net::Error>()?.hint();
        usage.or_else(net)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hides_a_beaten_certificate() {
        for code in [DONE, BAD_INPUT, STOPPED] {
            assert_eq!(either(true, code), UNSOUND);
            assert_eq!(either(false, code), code);
        }
    }
}
