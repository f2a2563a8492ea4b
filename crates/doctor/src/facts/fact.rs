//! Facts that may not be known.

/// A fact, or why it is not known.
pub type Fact<T> = Result<T, String>;
