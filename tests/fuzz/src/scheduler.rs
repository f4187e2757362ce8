//! As much of the room as the file of signatures needs.

#[path = "../../../src/scheduler/signature.rs"]
pub mod signature;
