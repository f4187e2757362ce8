//! interlock: a MySQL and MariaDB proxy that sees InnoDB lock conflicts before they happen.
//!
//! # The way of one statement
//!
//! ```text
//! client bytes → packet → command → statement (digest cache, else sqlparser)
//!    → lock requests (transaction state + catalog + access path)
//!    → lock table and wait-for graph → policy → forward | hold | reject
//!    → the same bytes to the server → response observed and relayed unchanged
//!    → transaction state corrected by the server's flags → locks kept or released → held statements woken
//! ```
//!
//! # Rooms, in reading order
//!
//! Pure (no I/O, no clock, no async): [`id`], [`wire`], [`sql`], [`catalog`], [`txn`], [`lock`],
//! [`intent`], [`scheduler`]. Shell (tokio, sockets, clock): [`shutdown`], [`metrics`], [`backend`],
//! [`admission`], [`session`], [`frontend`], [`admin`], [`config`], [`app`], [`cli`].
//!
//! A room imports only from rooms before it; `tests/tidy.rs` holds the table.
//!
//! # Decisions that a reader may wonder at
//!
//! * **Sessions never cross threads.** One single-threaded runtime per core; a session's task, its plans and
//!   its relay stay there. What sessions share is the [`admission`] room, the catalog and the metrics.
//! * **A statement without conflict takes no lock but its index's.** With a conflict, the decision is made
//!   under the hold queue's mutex, so that two sessions cannot decide to wait for each other.
//! * **The hand-over is at the sending of COMMIT, not at its answer.** A transaction that commits asks for
//!   nothing more and can be part of no cycle; whoever waits for it goes on at once and, if it comes too
//!   early, waits in the server for the rest of the COMMIT. Measured: a fifth more commits on one hot key.
//! * **Gaps are ranges between records that are known** ([`lock::fence`]), not InnoDB's next record: only
//!   the server knows that one. A look at the server settles it where a decision hangs on it.
//! * **Knowledge is never waited for twice.** The first use of a table in a session may wait for its
//!   definition, a conflict on an unknown gap for one look; both are bounded, then the statement goes on.

pub mod id;
pub mod wire;
pub mod sql;
pub mod catalog;
pub mod txn;
pub mod lock;
pub mod intent;
pub mod scheduler;
pub mod shutdown;
pub mod metrics;
pub mod backend;
pub mod admission;
pub mod session;
pub mod frontend;
pub mod admin;
pub mod config;
pub mod app;
pub mod cli;
