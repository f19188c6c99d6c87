//! The window: what people see of rows. Texts and arrays in; pages, figures and tables out.
//!
//! Nothing here is a certificate. A number that is shown is one of a row, or a mean of those by a function of the
//! judge, and is cut to its digits on the side on which its row errs: certified values down, those of false
//! decisions up, what attacks found to the nearest. Files, clocks and networks are the caller's.

mod alike;
pub mod beside;
mod error;
pub mod figure;
pub mod number;
pub mod page;
pub mod palette;
mod picture;
pub mod run;
pub mod table;

pub use error::{Error, Result};
pub use figure::Figure;
pub use page::{Materials, Page};
pub use picture::{Picture, VOID};
pub use run::Run;
