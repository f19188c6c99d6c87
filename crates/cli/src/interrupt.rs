//! Ctrl-C: the first asks the work to stop at its next step, the second ends the program at once.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;

use crate::fail::STOPPED;

static STOP: AtomicBool = AtomicBool::new(false);

/// Listens from now on.
pub fn listen() -> Result<()> {
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(STOPPED));
        }
        say!("stopping at the next step; Ctrl-C once more ends at once");
    })?;
    Ok(())
}

/// Whether to stop.
pub fn asked() -> bool {
    STOP.load(Ordering::SeqCst)
}
