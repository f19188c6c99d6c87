//! Ctrl-C: the first asks the work to stop at its next step, the second ends the program at once, with what is known
//! by then of beaten certificates.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::fail::{STOPPED, unless_beaten};

static STOP: AtomicBool = AtomicBool::new(false);

/// `timeout` and others signal the program and its group: what comes so soon is the same wish.
const ONE_WISH: Duration = Duration::from_millis(500);

/// Listens from now on.
pub fn listen() -> Result<()> {
    let mut first = None;
    ctrlc::set_handler(move || match first {
        None => {
            first = Some(Instant::now());
            STOP.store(true, Ordering::SeqCst);
            say!("stopping at the next step; Ctrl-C once more ends at once");
        }
        Some(at) if at.elapsed() >= ONE_WISH => {
            std::process::exit(i32::from(unless_beaten(STOPPED)))
        }
        Some(_) => {}
    })?;
    Ok(())
}

/// Whether to stop.
pub fn asked() -> bool {
    STOP.load(Ordering::SeqCst)
}
