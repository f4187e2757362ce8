//! The tables of a statement as a set of bits: what two statements may have in common, at the cost of one AND.

use std::hash::Hasher;

use rustc_hash::FxHasher;

use super::access::TableName;
use super::statement::Statement;

/// The tables that a statement names, one bit each: two that share a bit may be different ones.
pub(super) fn bits(statement: &Statement) -> u64 {
    let bit = |name: &TableName| {
        let mut hasher = FxHasher::default();
        name.name.bytes().for_each(|byte| hasher.write_u8(byte.to_ascii_lowercase()));
        1u64 << (hasher.finish() >> 58)
    };
    match statement {
        Statement::Multi(parts) => parts.iter().fold(0, |all, part| all | bits(part)),
        Statement::Select(select) => select.tables.iter().fold(0, |all, t| all | bit(&t.table)),
        Statement::Update(update) => update.tables.iter().fold(0, |all, t| all | bit(&t.table)),
        Statement::Delete(delete) => delete.tables.iter().fold(0, |all, t| all | bit(&t.table)),
        Statement::Insert(insert) => bit(&insert.table),
        Statement::LockTables(locked) => locked.iter().fold(0, |all, (table, _)| all | bit(table)),
        Statement::Ddl { tables, .. }
        | Statement::Routine { tables, .. }
        | Statement::Opaque { tables, .. } => tables.iter().fold(0, |all, table| all | bit(table)),
        _ => 0,
    }
}
