//! Where records come from. Place in the flow: in front of `decode`; everything downstream is blind to which source
//! it is.

pub(crate) mod kernel;
pub mod script;

use thiserror::Error;

use crate::decode::decode;
use crate::model::Model;

/// Whether a source has more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceStatus {
    /// Ask again.
    More,
    /// Nothing will come any more.
    Ended,
}

/// A source failed: what it was doing, and why it could not.
#[derive(Debug, Error)]
#[error("cannot {operation}")]
pub struct SourceError {
    /// The operation and its object: `read the ring of node 0`.
    pub operation: String,
    /// The reason.
    #[source]
    pub cause: Box<dyn std::error::Error + Send + Sync>,
}

/// Gives out whole records in order of time.
pub trait Source {
    /// Gives the next records to `sink`, one call each; a batch ends with a tick.
    ///
    /// # Errors
    /// When the source cannot be read any further.
    fn next_batch(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<SourceStatus, SourceError>;

    /// Pieces of input so far that were no records, which `sink` never saw.
    fn undecodable(&self) -> u64;
}

/// Decodes one record into the model; one that cannot be decoded is counted there.
#[inline]
pub fn apply(record: &[u8], model: &mut Model) {
    match decode(record) {
        Ok(event) => model.apply(&event),
        Err(_) => model.note_undecodable(1),
    }
}
