//! What there is to ask the server about besides what a statement's searches find.

use super::super::access_path::{self, alone};
use super::super::change::Change;
use super::super::footprint::Search;
use super::super::foreign_key::{self, Place};
use super::super::known::Known;
use super::super::{Context, Values, shortest_path};
use super::{Tables, paths, said, searched};
use crate::sql::statement::Statement;

/// What there is to ask about besides the searches: where the children are of the rows that a statement has been
/// seen to find, the parents of those that it changes, and the unique keys that these get.
pub fn places(
    statement: &Statement,
    values: &dyn Values,
    context: &Context,
    find: Tables<'_>,
    known: &Known,
) -> Vec<Place> {
    let mut places = Vec::new();
    for searched in searched(statement, context) {
        let Some(table) = find(&searched.table.table) else { continue };
        let paths = paths(&table, &searched, values, known, &said(statement, values));
        let search = Search::new(statement, &searched, &table, context, paths.len());
        let Some(change) = Change::of(&search, &searched, values, known, find) else { continue };
        let seen = |at: usize| known.of(searched.access, at).unwrap_or_default();
        let entries = (0..paths.len()).flat_map(seen).flat_map(|span| &span.entries);
        for row in entries.filter(|entry| entry.matches).flat_map(|entry| &entry.rows) {
            let read = |c: usize| row.iter().find(|(column, _)| *column == c).map(|(_, v)| v.clone());
            foreign_key::places(&change, &read, &mut places);
            for place in change.places(&table, &read) {
                let same = |known: &Place| {
                    (known.table.id, known.index, &known.key) == (place.table.id, place.index, &place.key)
                };
                if !places.iter().any(same) {
                    places.push(place);
                }
            }
        }
    }
    places
}

/// What is to be counted before it is known which way a search goes.
pub fn rivals(statement: &Statement, values: &dyn Values, context: &Context, find: Tables<'_>) -> Vec<Place> {
    let mut places = Vec::new();
    for searched in searched(statement, context).into_iter().filter(|searched| searched.ranges_keys) {
        let Some(table) = find(&searched.table.table) else { continue };
        let predicate = &searched.table.predicate;
        if let Some(path) = access_path::unique(&table, predicate, values, &alone) {
            places.extend(shortest_path::places(&table, predicate, values, &path));
        }
    }
    places
}
