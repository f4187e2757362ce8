//! The lock model against real servers: what interlock predicts, and what the server then did.
//!
//! * `scenarios`: the cases of `tests/scenarios/*.toml`.
//! * `examine`: random schemas, rows and statements, from a seed; failing cases are made as small as they go
//!   and printed as scenarios.
//! * `lists`: the locks that `interlock explain` lists, against those that the server holds.
//!
//! Both send their statements through interlock in `flag` mode. The truth is read from the server during
//! the run, never stored: who waits, from its lock views; who deadlocks, from its error 1213.

#[path = "../support/mod.rs"]
mod support;

mod case;
mod examine;
mod lists;
mod random;
mod score;
mod scenarios;
mod shrink;
mod stage;
mod truth;
mod wide;
