//! What can be wrong with rows.

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A line that cannot be read.
    #[error("line {line} of {run} is no row of this version: {source}")]
    Row {
        /// Name of the run.
        run: String,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Files that were put one behind the other.
    #[error("line {line} of {run} is a second head; give each run as a file of its own")]
    TwoHeads {
        /// Name of the file.
        run: String,
        /// From 1.
        line: usize,
    },
    /// Rows of another format.
    #[error("{run} has rows of format {got}, expected {expected}; use the version that wrote them")]
    Format {
        /// Name of the run.
        run: String,
        /// Of its head.
        got: u32,
        /// Known here.
        expected: u32,
    },
    /// What was asked for needs other rows.
    #[error("{what} needs {needed}")]
    Missing {
        /// A figure, a table, a part of a page.
        what: String,
        /// Rows, and how they are made.
        needed: String,
    },
    /// No table has this name.
    #[error("no table is called {got}; there are {known}")]
    NoTable {
        /// What was asked for.
        got: String,
        /// All names.
        known: String,
    },
    /// Two runs that cannot be told apart.
    #[error("two runs are called {label}; give each a label of its own: A=PATH B=PATH")]
    Twice {
        /// What both are called.
        label: String,
    },
    /// Budgets for a table that has none.
    #[error("the table {table} has no budgets to choose from; leave --eps out")]
    NoBudgets {
        /// The table.
        table: String,
    },
    /// A template that cannot be filled.
    #[error("{file}, line {line}: {what}")]
    Template {
        /// Its name.
        file: String,
        /// From 1.
        line: usize,
        /// What is wrong there.
        what: String,
    },
    /// Runs of different models do not go on one page.
    #[error("{first} is about model {ours}, {second} about model {theirs}; give a page to each")]
    TwoModels {
        /// Name of a run.
        first: String,
        /// Hash of its model.
        ours: String,
        /// Name of another.
        second: String,
        /// Hash of that.
        theirs: String,
    },
    /// A picture cannot be packed.
    #[error("picture {id}: {reason}")]
    Picture {
        /// Its name.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Runs that do not belong side by side.
    #[error("{run} is of another {what} than {other}: {got}, expected {expected}")]
    Mixed {
        /// Network, size of pictures, norm.
        what: &'static str,
        /// Name of the run.
        run: String,
        /// Name of the first.
        other: String,
        /// Of the run.
        got: String,
        /// Of the first.
        expected: String,
    },
    /// A figure could not be written as PDF or PNG.
    #[error("the drawing cannot be rendered: {0}")]
    Drawing(String),
}

/// Results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
