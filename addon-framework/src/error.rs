//! Why an addon cannot say what it wants.
use std::error::Error as StdError;

use thiserror::Error;

/// Why an addon cannot say what it wants.
#[derive(Debug, Error)]
pub enum AddonError {
    /// Said in full by the text: what was expected, what was seen, what to do.
    #[error("{0}")]
    Failed(String),
    /// Something else failed.
    #[error("{context}")]
    Caused {
        /// What the addon was doing.
        context: String,
        /// What failed.
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl AddonError {
    /// An error with its cause.
    pub fn caused(context: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Caused {
            context: context.into(),
            source: source.into(),
        }
    }
}
