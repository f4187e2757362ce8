//! What an UPDATE sets its columns to.

use std::borrow::Cow;

use super::{Values, scalar};
use crate::catalog::Table;
use crate::sql::access::TableAccess;
use crate::sql::formula::Formula;
use crate::sql::statement::Update;
use crate::sql::value::{Scalar, Value};

/// What a column is set to.
#[derive(Clone)]
pub(super) enum To<'a> {
    /// A value; `None`: only the server knows it.
    Value(Option<Value<'a>>),
    /// Computed from the row as it is, and what was set before.
    Computed(Cow<'a, Formula>),
    /// Now, if anything else changes: `ON UPDATE CURRENT_TIMESTAMP`.
    Now,
}

impl To<'_> {
    /// The value, if it does not hang on the row.
    pub(super) fn value(&self) -> Option<&Value<'_>> {
        match self {
            To::Value(value) => value.as_ref(),
            To::Computed(_) | To::Now => None,
        }
    }
}

/// The columns that an UPDATE sets in a table.
pub(super) fn assigned<'v>(
    update: &'v Update,
    access: &TableAccess,
    table: &Table,
    values: &'v dyn Values,
) -> Vec<(usize, To<'v>)> {
    let own = |alias: &str| alias.is_empty() || alias.eq_ignore_ascii_case(&access.alias);
    let set = update.assignments.iter().filter(|(alias, ..)| own(alias));
    let to = |to: &'v Scalar| match to {
        Scalar::Computed(formula) if !formula.columns().is_empty() => To::Computed(Cow::Borrowed(formula)),
        Scalar::Default => To::Value(None),
        to => To::Value(scalar(to, values, 0)),
    };
    set.filter_map(|(_, column, value)| Some((table.column(column)?, to(value)))).collect()
}

/// The columns that ON DUPLICATE KEY UPDATE sets; `new` is what the new row has got.
pub(super) fn on_duplicate<'v>(
    set: &'v [(String, Scalar)],
    table: &Table,
    values: &'v dyn Values,
    new: &dyn Fn(&str) -> Option<Value<'static>>,
) -> Vec<(usize, To<'v>)> {
    let to = |to: &'v Scalar| match to {
        Scalar::Computed(formula) => match formula.with_inserted(new) {
            Some(formula) => To::Computed(Cow::Owned(formula)),
            None => To::Value(None),
        },
        Scalar::Default => To::Value(None),
        to => To::Value(scalar(to, values, 0)),
    };
    set.iter().filter_map(|(column, value)| Some((table.column(column)?, to(value)))).collect()
}

/// With the columns that get the moment of the change.
pub(super) fn with_moments<'v>(
    table: &Table,
    mut assigned: Vec<(usize, To<'v>)>,
    deletes: bool,
) -> Vec<(usize, To<'v>)> {
    if deletes || assigned.is_empty() {
        return assigned;
    }
    let moments = table.columns.iter().enumerate().filter(|(_, column)| column.on_update);
    for (at, _) in moments {
        if !assigned.iter().any(|(column, _)| *column == at) {
            assigned.push((at, To::Now));
        }
    }
    assigned
}
