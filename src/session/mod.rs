//! One client's life: login, then commands until the end.

pub mod analysis;
pub mod login;
pub mod buffer;
pub mod relay;
pub mod analyze;
pub mod rules;
pub mod place;
pub mod programs;
pub mod views;
pub mod serve;
