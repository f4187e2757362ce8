//! The state of a session's transaction.
//!
//! [`state::TransactionState`] is what is known between statements. [`transition`] moves it: `before` says
//! what a statement will do, `after` takes in what the server answered. The server is the authority: its
//! status flags correct whatever the text let us expect.

pub mod effect;
pub mod state;
pub mod transition;
#[cfg(test)]
mod transition_tests;
