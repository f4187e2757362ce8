//! Procedures by name, loaded when first called.
//!
//! What the control account may not see has no body: on MySQL the right is `SHOW_ROUTINE`, on MariaDB `SELECT`
//! on `mysql.proc`. A definition is believed for as long as one of a table.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use super::catalog_loader::{opt, text};
use super::control::{Control, ControlError, Lane};
use super::literal::string;
use crate::catalog::Procedure;

/// Procedures that are kept; at the limit all go, and come back when called.
const LIMIT: usize = 4_096;

/// Schema and name. Names of routines compare without case on both servers.
type Name = (Box<str>, Box<str>);

/// A definition, and when it was asked for; `None`: there is none of this name.
type Known = (Option<Arc<Procedure>>, Instant);

/// The procedures that were called.
pub struct Procedures {
    control: Control,
    refresh: Duration,
    known: Mutex<FxHashMap<Name, Known>>,
}

impl Procedures {
    /// Asks over `control`; a definition is believed for `refresh`.
    pub fn new(control: Control, refresh: Duration) -> Procedures {
        Procedures { control, refresh, known: Mutex::default() }
    }

    /// The definition if it is known now; the outer `None`: it was not asked for.
    pub fn get(&self, schema: &str, name: &str) -> Option<Option<Arc<Procedure>>> {
        self.known.lock().get(&key(schema, name)).map(|(procedure, _)| procedure.clone())
    }

    /// It is known, and better asked for again.
    pub fn is_old(&self, schema: &str, name: &str) -> bool {
        self.known.lock().get(&key(schema, name)).is_some_and(|(_, since)| since.elapsed() >= self.refresh)
    }

    /// Loads the definition. What fails is as if there were none.
    pub async fn load(&self, schema: &str, name: &str) -> Option<Arc<Procedure>> {
        let since = Instant::now();
        let procedure = self.ask(schema, name).await.unwrap_or_default().map(Arc::new);
        let mut known = self.known.lock();
        if known.len() >= LIMIT {
            known.clear();
        }
        let entry = known.entry(key(schema, name)).or_insert((None, since));
        // Who keeps what is derived of it need not begin anew if it is the same.
        if entry.0 != procedure {
            entry.0 = procedure;
        }
        entry.1 = since;
        entry.0.clone()
    }

    /// Some procedure has changed, or may have.
    pub fn forget(&self) {
        self.known.lock().clear();
    }

    async fn ask(&self, schema: &str, name: &str) -> Result<Option<Procedure>, ControlError> {
        let (s, n) = (string(schema), string(name));
        let question = format!(
            "SELECT ROUTINE_DEFINITION AS c0, SQL_MODE AS c1 FROM information_schema.ROUTINES \
             WHERE ROUTINE_SCHEMA = {s} AND ROUTINE_NAME = {n} AND ROUTINE_TYPE = 'PROCEDURE'; \
             SELECT PARAMETER_NAME AS c0 FROM information_schema.PARAMETERS \
             WHERE SPECIFIC_SCHEMA = {s} AND SPECIFIC_NAME = {n} AND ROUTINE_TYPE = 'PROCEDURE' \
             ORDER BY ORDINAL_POSITION"
        );
        let answer = self.control.query(Lane::Catalog, question).await?;
        let Some(head) = answer.first().and_then(|rows| rows.first()) else { return Ok(None) };
        let parameters = answer.get(1).map_or(&[][..], Vec::as_slice);
        Ok(Some(Procedure {
            parameters: parameters.iter().map(|row| text(row, 0)).collect(),
            body: opt(head, 0),
            sql_mode: text(head, 1),
        }))
    }
}

fn key(schema: &str, name: &str) -> Name {
    (schema.into(), name.to_lowercase().into())
}
