//! Short ways to make errors.

use std::path::PathBuf;

use super::Error;

impl Error {
    /// Something that cannot be done soundly, and what to do instead.
    pub(crate) fn unsupported(what: String, hint: &str) -> Self {
        let hint = hint.to_owned();
        Self::Unsupported { what, hint }
    }

    pub(crate) fn tensor(name: String, what: String) -> Self {
        Self::Tensor { name, what }
    }

    pub(crate) fn node(name: &str, what: impl Into<String>) -> Self {
        let (name, what) = (name.to_owned(), what.into());
        Self::Node { name, what }
    }

    pub(crate) fn bad_cloud(id: &str, what: String) -> Self {
        let id = id.to_owned();
        Self::BadCloud { id, what }
    }

    pub(crate) fn not_a_checkpoint(what: String) -> Self {
        Self::NotACheckpoint { what }
    }

    pub(crate) fn device(error: impl std::fmt::Debug) -> Self {
        let reason = format!("{error:?}");
        Self::Device { reason }
    }

    pub(crate) fn in_file(self, path: &std::path::Path) -> Self {
        let path = path.to_owned();
        let source = Box::new(self);
        Self::File { path, source }
    }

    /// A setting outside its range.
    pub(crate) fn setting(
        field: impl Into<String>,
        got: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Error::Setting {
            field: field.into(),
            got: got.into(),
            expected: expected.into(),
        }
    }
}

/// Paths in quotes, with commas.
pub(super) fn listed(paths: &[PathBuf]) -> String {
    paths
        .iter()
        .map(|path| format!("{path:?}"))
        .collect::<Vec<_>>()
        .join(", ")
}
