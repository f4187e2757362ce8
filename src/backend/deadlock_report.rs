//! Asks the server for its report of the latest deadlock: `SHOW ENGINE INNODB STATUS`.
//!
//! The report names all parties of the cycle with their connection ids, and the locks between them, also
//! where no statement's text shows them (triggers, cascades). It needs the PROCESS privilege; without it
//! there is no report, and that is all.

use super::control::{Control, ControlError, Lane};
pub use super::deadlock_text::ReportedParty;
use super::deadlock_text::parse;

/// Asks for the latest deadlock. `None`: there was none, or the server does not tell.
pub async fn ask(control: &Control) -> Option<Vec<ReportedParty>> {
    let answer = control.query(Lane::Probe, "SHOW ENGINE INNODB STATUS".to_owned()).await;
    match answer {
        Ok(results) => {
            let row = results.first()?.first()?;
            let text = row.last()?.as_deref()?;
            Some(parse(&String::from_utf8_lossy(text))).filter(|parties| !parties.is_empty())
        }
        Err(ControlError::Server(1227, _)) => {
            tracing::debug!("no PROCESS privilege: the server's deadlock reports are not read");
            None
        }
        Err(error) => {
            tracing::debug!(%error, "the server's deadlock report could not be read");
            None
        }
    }
}
