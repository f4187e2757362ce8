//! The InnoDB lock model: what is held on which part of which index, and who waits for whom.
//!
//! A lock covers a half-open [`range::Range`] of one index's key space. It can cover the *records* in that
//! range, the *gaps* in it, or both (a next-key lock); how far a gap reaches beyond what the statement named
//! is decided by the records that exist there, which interlock only partly knows ([`fence`]).
//!
//! This room knows no SQL. It learns of locks from `intent` by way of `scheduler`.
//!
//! Source of the rules: MySQL 8.4 manual, section 17.7.1 "InnoDB Locking", and observation of MySQL 9.7 and
//! MariaDB 10.11.

pub mod mode;
pub mod key;
pub mod range;
pub mod request;
pub mod evidence;
pub mod interval_tree;
pub mod fence;
pub mod lead;
pub mod asking;
pub mod index;
pub mod shown;
mod waiting;
mod meeting;
pub mod table;
mod leading;
pub mod progress;
pub mod wait_for;
pub mod ways;
#[cfg(test)]
mod reference_tests;
