//! Names of tables as keys of a map.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Schema and table name, as the server compares them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Name(pub(super) Arc<str>, pub(super) Arc<str>);

/// Lets the map be asked with two borrowed texts, without building a [`Name`] for every statement.
pub(super) trait Pair {
    /// Schema and name.
    fn pair(&self) -> (&str, &str);
}

impl Pair for Name {
    fn pair(&self) -> (&str, &str) {
        (&self.0, &self.1)
    }
}

impl Pair for (&str, &str) {
    fn pair(&self) -> (&str, &str) {
        *self
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pair().hash(state);
    }
}

impl Hash for dyn Pair + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pair().hash(state);
    }
}

impl PartialEq for dyn Pair + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.pair() == other.pair()
    }
}

impl Eq for dyn Pair + '_ {}

impl<'a> Borrow<dyn Pair + 'a> for Name {
    fn borrow(&self) -> &(dyn Pair + 'a) {
        self
    }
}
