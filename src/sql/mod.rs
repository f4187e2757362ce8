//! SQL text to statements.
//!
//! [`cache::PlanCache::analyse`] is the door: text in, plan and literals out.

pub mod access;
mod admin;
pub mod binding;
pub mod cache;
mod cursor;
pub mod digest;
mod fold;
pub mod formula;
pub mod formula_reader;
pub mod formula_time;
mod hash;
mod names;
pub mod lexer;
#[cfg(test)]
mod lexer_tests;
mod literal;
mod named_lock;
pub mod parse;
pub mod plain;
mod predicate;
pub mod program;
mod program_reader;
pub mod question;
mod read;
mod recognise;
pub mod repeat;
mod rewrite;
mod routine;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod read_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod sketch;
pub mod set;
pub mod statement;
pub mod tag;
pub mod uses;
pub mod value;
pub mod view;
mod walk;
mod write;
