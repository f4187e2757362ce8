//! Rows and columns.

#[path = "../../../src/admin/view/column.rs"]
pub mod column;

/// Where the rest of the room finds them.
pub mod tables {
    pub use super::column::{Column, ColumnKind, Row};
}
