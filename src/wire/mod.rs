//! MySQL protocol: bytes to values and back.

pub mod packet;
pub mod flags;
pub mod handshake;
pub mod auth;
pub mod command;
pub mod outcome;
pub mod response;
pub mod binary;
pub mod error;
pub mod fingerprint;
