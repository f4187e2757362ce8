//! Asks the server who waits there for a row lock, and for whom.
//!
//! It needs the PROCESS privilege, and on MySQL SELECT on `performance_schema.data_lock_waits` (manual, "The
//! data_lock_waits Table"; MariaDB's is `information_schema.INNODB_LOCK_WAITS`). The waits of all sessions are many where
//! a herd waits for one row: only those of the sessions that matter are asked for.

use super::catalog_loader::text;
use super::control::{Control, ControlError, Lane};
use crate::catalog::Flavour;

/// Of these threads of the server (connection ids), those that wait for a row lock now, each with one that it waits for.
pub async fn ask(control: &Control, threads: &[u32]) -> Result<Vec<(u32, u32)>, ControlError> {
    let flavour = control.facts().await?.flavour;
    let answer = control.query(Lane::Probe, question(flavour, threads)).await?;
    let number = |row, n| text(row, n).parse().ok();
    let rows = answer.first().map(Vec::as_slice).unwrap_or_default();
    Ok(rows.iter().filter_map(|row| Some((number(row, 0)?, number(row, 1)?))).collect())
}

fn question(flavour: Flavour, threads: &[u32]) -> String {
    let (waits, waiter, blocker) = match flavour {
        Flavour::MySql => (
            "performance_schema.data_lock_waits",
            "REQUESTING_ENGINE_TRANSACTION_ID",
            "BLOCKING_ENGINE_TRANSACTION_ID",
        ),
        Flavour::MariaDb => ("information_schema.INNODB_LOCK_WAITS", "requesting_trx_id", "blocking_trx_id"),
    };
    let threads: Vec<String> = threads.iter().map(u32::to_string).collect();
    format!(
        "SELECT DISTINCT r.trx_mysql_thread_id AS c0, b.trx_mysql_thread_id AS c1 \
         FROM information_schema.INNODB_TRX AS r JOIN {waits} AS w ON w.{waiter} = r.trx_id \
         JOIN information_schema.INNODB_TRX AS b ON b.trx_id = w.{blocker} \
         WHERE r.trx_state = 'LOCK WAIT' AND r.trx_mysql_thread_id IN ({})",
        threads.join(", ")
    )
}
