//! The text of InnoDB's report of the latest deadlock, in `SHOW ENGINE INNODB STATUS`.

const TITLE: &str = "LATEST DETECTED DEADLOCK";

/// One party of the deadlock.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReportedParty {
    /// Its connection id.
    pub server_thread: u32,
    /// Locks that it held in the others' way: `shop.orders.PRIMARY: lock_mode X locks gap before rec`.
    pub holds: Vec<String>,
    /// The lock that it waited for.
    pub waits_for: Vec<String>,
    /// InnoDB's id of its transaction.
    transaction: String,
}

/// The parties of the latest deadlock in a status text.
pub fn parse(status: &str) -> Vec<ReportedParty> {
    let mut parties: Vec<ReportedParty> = Vec::new();
    let mut conflicting: Vec<(String, String)> = Vec::new();
    let mut place = Place::Transaction;
    let Some(start) = status.find(TITLE) else { return parties };
    for line in status[start..].lines().skip(2) {
        if line.starts_with("------------") || line.starts_with("*** WE ROLL BACK") {
            break;
        }
        if let Some(title) = line.strip_prefix("*** ") {
            place = Place::of(title);
            if place == Place::Transaction {
                parties.push(ReportedParty::default());
            }
            continue;
        }
        let Some(party) = parties.last_mut() else { continue };
        if let Some(thread) = thread_id(line) {
            party.server_thread = thread;
        } else if place == Place::Transaction && party.transaction.is_empty() {
            party.transaction = transaction_id(line).unwrap_or_default().to_owned();
        } else if let Some((lock, transaction)) = lock(line) {
            match place {
                Place::Transaction => {}
                Place::Holds => party.holds.push(lock),
                Place::Waits => party.waits_for.push(lock),
                Place::Conflicting => conflicting.push((lock, transaction.to_owned())),
            }
        }
    }
    for (lock, transaction) in conflicting {
        if let Some(party) = parties.iter_mut().find(|party| party.transaction == transaction)
            && !party.holds.contains(&lock)
        {
            party.holds.push(lock);
        }
    }
    parties.retain(|party| party.server_thread != 0);
    parties
}

/// Under which heading a line stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Transaction,
    Holds,
    Waits,
    /// MariaDB: locks of other parties.
    Conflicting,
}

impl Place {
    fn of(title: &str) -> Place {
        match title {
            _ if title.contains("HOLDS THE LOCK") => Place::Holds,
            _ if title.contains("WAITING FOR THIS LOCK") => Place::Waits,
            _ if title.contains("CONFLICTING WITH") => Place::Conflicting,
            _ => Place::Transaction,
        }
    }
}

/// `MySQL thread id 12, OS thread handle …`
fn thread_id(line: &str) -> Option<u32> {
    let (before, after) = line.split_once(" thread id ")?;
    matches!(before, "MySQL" | "MariaDB").then(|| after.split(',').next()?.trim().parse().ok()).flatten()
}

/// `TRANSACTION 1847, ACTIVE 0 sec inserting`, `TRANSACTION (0x7f…), ACTIVE …`
fn transaction_id(line: &str) -> Option<&str> {
    line.strip_prefix("TRANSACTION ")?.split(',').next()
}

/// `RECORD LOCKS space id 5 … index PRIMARY of table `shop`.`orders` trx id 1847 lock_mode X …`: the lock in
/// words, and whose it is.
fn lock(line: &str) -> Option<(String, &str)> {
    let (before, mode) = line.split_once(" trx id ")?;
    let (transaction, mode) = mode.split_once(' ')?;
    let table = |text: &str| text.replace("`.`", ".").replace('`', "");
    let place = match before.split_once(" of table ") {
        Some((index, name)) => format!("{}.{}", table(name), index.rsplit(' ').next()?),
        None => table(before.strip_prefix("TABLE LOCK table ")?),
    };
    let place = place.replace(" /* Partition ", "#").replace(" */", "");
    Some((format!("{place}: {}", mode.trim_end_matches(" waiting")), transaction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mysql_lists_locks_by_party() {
        let text = "\
=====\n------------------------\nLATEST DETECTED DEADLOCK\n------------------------\n2026-01-31 10:00:00 0x7f\n\
*** (1) TRANSACTION:\nTRANSACTION 1847, ACTIVE 0 sec inserting\nmysql tables in use 1, locked 1\n\
LOCK WAIT 3 lock struct(s), heap size 1128, 2 row lock(s)\n\
MySQL thread id 12, OS thread handle 139, query id 55 localhost root update\nINSERT INTO t VALUES (9)\n\n\
*** (1) HOLDS THE LOCK(S):\n\
RECORD LOCKS space id 5 page no 4 n bits 72 index PRIMARY of table `shop`.`t` trx id 1847 lock_mode X\n\
Record lock, heap no 1 PHYSICAL RECORD: n_fields 1; compact format; info bits 0\n\n\
*** (1) WAITING FOR THIS LOCK TO BE GRANTED:\n\
RECORD LOCKS space id 5 page no 4 n bits 72 index PRIMARY of table `shop`.`t` trx id 1847 lock_mode X \
insert intention waiting\n\n\
*** (2) TRANSACTION:\nTRANSACTION 1848, ACTIVE 0 sec inserting\n\
MySQL thread id 13, OS thread handle 139, query id 56 localhost root update\nINSERT INTO t VALUES (10)\n\
*** (2) WAITING FOR THIS LOCK TO BE GRANTED:\n\
TABLE LOCK table `shop`.`t` trx id 1848 lock mode AUTO-INC waiting\n\
*** WE ROLL BACK TRANSACTION (2)\n------------\nTRANSACTIONS\n------------\nMySQL thread id 99, OS\n";
        let parties = parse(text);
        let seen: Vec<_> =
            parties.iter().map(|p| (p.server_thread, p.holds.join(";"), p.waits_for.join(";"))).collect();
        let insert = "shop.t.PRIMARY: lock_mode X insert intention".to_owned();
        assert_eq!(
            seen,
            [
                (12, "shop.t.PRIMARY: lock_mode X".to_owned(), insert),
                (13, String::new(), "shop.t: lock mode AUTO-INC".to_owned())
            ]
        );
    }

    #[test]
    fn mariadb_names_the_owner_of_a_conflicting_lock() {
        let text = "\
LATEST DETECTED DEADLOCK\n------------------------\n2026-01-31 10:00:00 0x7f\n\
*** (1) TRANSACTION:\nTRANSACTION 35, ACTIVE 0 sec inserting\n\
MariaDB thread id 8, OS thread handle 1, query id 60 localhost root Update\nINSERT INTO t VALUES (9)\n\
*** WAITING FOR THIS LOCK TO BE GRANTED:\n\
RECORD LOCKS space id 5 page no 3 n bits 8 index idx of table `d`.`t` trx id 35 lock_mode X insert intention waiting\n\
*** CONFLICTING WITH:\n\
RECORD LOCKS space id 5 page no 3 n bits 8 index idx of table `d`.`t` trx id 36 lock_mode X\n\
\n*** (2) TRANSACTION:\nTRANSACTION 36, ACTIVE 0 sec inserting\n\
MariaDB thread id 9, OS thread handle 1, query id 61 localhost root Update\nINSERT INTO t VALUES (10)\n\
*** WE ROLL BACK TRANSACTION (2)\n";
        let parties = parse(text);
        assert_eq!(parties.iter().map(|p| p.server_thread).collect::<Vec<_>>(), [8, 9]);
        assert_eq!(parties[1].holds, ["d.t.idx: lock_mode X"]);
        assert_eq!(parties[0].waits_for, ["d.t.idx: lock_mode X insert intention"]);
    }

    #[test]
    fn no_deadlock_no_parties() {
        assert!(parse("TRANSACTIONS\nMySQL thread id 99, OS thread").is_empty());
        assert!(parse("LATEST DETECTED DEADLOCK").is_empty());
    }
}
