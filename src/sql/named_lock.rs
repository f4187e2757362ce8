//! `GET_LOCK` and its kin, found by their names wherever they stand in a text.

use super::cursor::Cursor;
use super::fold::{Piece, PieceKind};
use super::statement::NamedLock;
use super::value::Scalar;

/// The calls in a statement, in text order.
pub(super) fn calls(pieces: &[Piece<'_>]) -> Vec<NamedLock> {
    let mut found = Vec::new();
    let mut cursor = Cursor::new(pieces);
    while let Some(piece) = cursor.next() {
        if piece.kind != PieceKind::Word || !cursor.peek().is_some_and(|next| next.op("(")) {
            continue;
        }
        let call = |arguments: &[Scalar]| {
            let argument = |n: usize| arguments.get(n).cloned().unwrap_or(Scalar::Unknown);
            if piece.is("GET_LOCK") {
                Some(NamedLock::Get { name: argument(0), timeout: argument(1) })
            } else if piece.is("RELEASE_LOCK") {
                Some(NamedLock::Release(argument(0)))
            } else if piece.is("RELEASE_ALL_LOCKS") {
                Some(NamedLock::ReleaseAll)
            } else {
                None
            }
        };
        let mut ahead = cursor;
        ahead.next();
        found.extend(call(&arguments(ahead)));
    }
    found
}

/// The arguments up to the closing parenthesis: literals and parameters; anything else is unknown.
fn arguments(mut cursor: Cursor<'_, '_>) -> Vec<Scalar> {
    let mut found = Vec::new();
    let (mut current, mut depth) = (Vec::new(), 0u32);
    while let Some(piece) = cursor.next() {
        if piece.op("(") {
            depth += 1;
        } else if piece.op(")") && depth == 0 {
            break;
        } else if piece.op(")") {
            depth -= 1;
        } else if piece.op(",") && depth == 0 {
            found.push(one(&current));
            current.clear();
            continue;
        }
        current.push(piece);
    }
    found.push(one(&current));
    found
}

fn one(pieces: &[&Piece<'_>]) -> Scalar {
    match pieces {
        [Piece { kind: PieceKind::Slot(slot, _), .. }] => Scalar::Slot(*slot),
        _ => Scalar::Unknown,
    }
}
