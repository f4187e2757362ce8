//! What the file of signatures says: its text, and what is made of a text that somebody else may have written.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::scheduler::signature::Signature;

/// The layout of the file.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    signatures: Vec<Signature>,
}

/// Why a file of signatures cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The system refuses.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It is no file of signatures.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// Which file.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

/// The signatures in a text.
pub fn parse(text: &[u8], path: &Path) -> Result<Vec<Signature>, StateError> {
    let damaged = |reason: String| StateError::Damaged { path: path.display().to_string(), reason };
    let document: Document = serde_json::from_slice(text).map_err(|error| damaged(error.to_string()))?;
    if document.version != VERSION {
        return Err(damaged(format!("version {} is not known, only {VERSION}", document.version)));
    }
    let count = document.signatures.len();
    let sound: Vec<Signature> = document.signatures.into_iter().filter_map(Signature::checked).collect();
    if sound.len() < count {
        return Err(damaged(format!("{} of {count} signatures make no sense", count - sound.len())));
    }
    Ok(sound)
}

/// The text of a file with these signatures.
pub fn text(signatures: Vec<Signature>) -> String {
    let document = Document { version: VERSION, signatures };
    // Serialising cannot fail: no map with odd keys, no value that refuses.
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}
