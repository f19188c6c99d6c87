//! The official layouts as they come out of the download, with the traps that are known of them, and plain folders with
//! what users' files have. Every trap is met twice: by a training, and by the survey that should have warned of it.

mod folder;
mod official;
mod tree;
