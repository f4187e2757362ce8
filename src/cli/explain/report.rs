//! What `explain` prints: a table of locks for one session, a timeline for several, JSON for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use super::super::columns;
use super::rehearsal::{Conflict, Event, Lock, Played, Step};
use crate::scheduler::conflict::ConflictKind;

/// Width of a column when there are two; more share the same width.
const TWO_COLUMNS: usize = 116;

/// For people.
pub fn text(played: &Played) -> String {
    if played.sessions.len() == 1 { tables(played) } else { timeline(played) }
}

/// Each statement with the table of its locks.
fn tables(played: &Played) -> String {
    let mut out = String::new();
    for event in &played.events {
        let Event::Sent(step) = event else { continue };
        let scope = if step.alone { "its locks end with it" } else { "its locks stay until COMMIT" };
        // Writing to a String does not fail.
        let _ = writeln!(out, "{}\n  {}, {}, {scope}", step.line.sql, played.server, step.isolation);
        let _ = writeln!(out, "{}", table(step));
    }
    out
}

fn table(step: &Step) -> String {
    if step.locks.is_empty() {
        return format!("\n  {}\n", nothing(step));
    }
    let head =
        ["table", "index", "mode", "lock", "where", "sure", "who could wait for it"].map(str::to_owned);
    let row = |lock: &Lock| {
        [
            lock.table.clone(),
            lock.index.clone(),
            lock.mode.clone(),
            lock.kind.to_owned(),
            lock.place.clone(),
            lock.certainty.clone(),
            lock.blocks.to_owned(),
        ]
    };
    let rows: Vec<_> = std::iter::once(head).chain(step.locks.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    let mut out = String::from("\n");
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let _ = writeln!(out, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    out.push('\n');
    let mut told: Vec<&str> = Vec::new();
    for lock in &step.locks {
        if !told.contains(&lock.rule) {
            told.push(lock.rule);
            let _ =
                writeln!(out, "  {}{}{}", lock.rule, if lock.why.is_empty() { "" } else { ": " }, lock.why);
        }
    }
    if let Some(reason) = step.unknown {
        let _ = writeln!(out, "  There may be more: {}.", reason.replace('_', " "));
    }
    out
}

fn nothing(step: &Step) -> String {
    match step.unknown {
        Some(reason) => format!("What it locks is not known: {}.", reason.replace('_', " ")),
        None => "No row locks.".to_owned(),
    }
}

/// A column per session, in order of time.
fn timeline(played: &Played) -> String {
    let count = played.sessions.len();
    let width = (TWO_COLUMNS / count).max(28);
    let mut out = format!("{}\n\n", played.server);
    for (column, name) in played.sessions.iter().enumerate() {
        let _ = write!(
            out,
            "{}{:<width$}",
            if column == 0 { "          " } else { "  " },
            format!("session {name}")
        );
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    for event in &played.events {
        match event {
            Event::Sent(step) => sent(&mut out, played, step, width),
            Event::GoesOn { session, number } => {
                columns::row(&mut out, "", *session, width, &format!("→ statement {number} goes on"));
            }
            Event::Behind { session, number, line } => {
                let text = format!("({} queues: its session still waits)", short(&line.sql));
                columns::row(&mut out, &number.to_string(), *session, width, &text);
            }
            Event::LeftOut { session, number, line } => {
                let text = format!("({} left out: its transaction is gone)", short(&line.sql));
                columns::row(&mut out, &number.to_string(), *session, width, &text);
            }
        }
    }
    let _ = writeln!(out, "\n{}", outcome(played));
    out
}

fn sent(out: &mut String, played: &Played, step: &Step, width: usize) {
    columns::row(out, &step.number.to_string(), step.session, width, &step.line.sql);
    for lock in &step.locks {
        let text = format!(
            "· {} {} in {}.{}: {} ({})",
            lock.mode, lock.kind, lock.table, lock.index, lock.place, lock.certainty
        );
        columns::row(out, "", step.session, width, &text);
    }
    if let (Some(reason), true) = (step.unknown, step.locks.is_empty()) {
        columns::row(out, "", step.session, width, &format!("· not known: {}", reason.replace('_', " ")));
    }
    if let Some(conflict) = &step.conflict {
        columns::row(out, "", step.session, width, &format!("← {}", meets(played, conflict)));
    }
}

fn meets(played: &Played, conflict: &Conflict) -> String {
    let holders = names(played, &conflict.holders);
    let (sure, place) = (&conflict.certainty, &conflict.place);
    match conflict.kind {
        ConflictKind::Wait => format!("waits for {holders} ({sure}): {place}"),
        ConflictKind::Deadlock => {
            format!("DEADLOCK with {holders} ({sure}): {place}. The server rolls one back; here this one")
        }
        ConflictKind::Hazard => {
            format!(
                "compatible with {holders} for now, but the next insert of each will wait for the other ({sure})"
            )
        }
    }
}

/// The end in one or two sentences.
fn outcome(played: &Played) -> String {
    let steps = || {
        played.events.iter().filter_map(|event| if let Event::Sent(step) = event { Some(step) } else { None })
    };
    let met = |kind| steps().filter(move |step| step.conflict.as_ref().is_some_and(|c| c.kind == kind));
    let mut text = match (met(ConflictKind::Deadlock).next(), met(ConflictKind::Wait).count()) {
        (Some(step), _) => format!(
            "Predicted: a deadlock, closed by statement {} of session {}.",
            step.number, played.sessions[step.session]
        ),
        (None, 0) => "Predicted: nobody waits.".to_owned(),
        (None, 1) => "Predicted: one statement waits, no deadlock.".to_owned(),
        (None, waits) => format!("Predicted: {waits} statements wait, no deadlock."),
    };
    for (session, holders) in &played.waiting {
        let _ = write!(
            text,
            " Session {} still waits for {} at the end.",
            played.sessions[*session],
            names(played, holders)
        );
    }
    text
}

fn names(played: &Played, sessions: &[usize]) -> String {
    let mut names: Vec<&str> = sessions.iter().map(|session| played.sessions[*session].as_str()).collect();
    names.dedup();
    if names.is_empty() { "another session".to_owned() } else { names.join(", ") }
}

fn short(sql: &str) -> String {
    let words: Vec<&str> = sql.split_whitespace().take(4).collect();
    words.join(" ") + if sql.split_whitespace().count() > 4 { " …" } else { "" }
}

/// For programs.
pub fn json(played: &Played) -> String {
    let name = |session: &usize| played.sessions[*session].clone();
    let conflict = |conflict: &Conflict| {
        json!({
            "kind": conflict.kind, "certainty": conflict.certainty, "place": conflict.place,
            "holders": conflict.holders.iter().map(name).collect::<Vec<_>>(),
        })
    };
    let event = |event: &Event| match event {
        Event::Sent(step) => json!({
            "event": "statement", "number": step.number, "session": name(&step.session), "line": step.line.line,
            "sql": step.line.sql, "isolation": step.isolation, "autocommit": step.alone, "locks": step.locks,
            "unknown": step.unknown, "conflict": step.conflict.as_ref().map(conflict),
        }),
        Event::GoesOn { session, number } => {
            json!({ "event": "goes_on", "number": number, "session": name(session) })
        }
        Event::Behind { session, number, line } => json!({
            "event": "queues", "number": number, "session": name(session), "line": line.line, "sql": line.sql,
        }),
        Event::LeftOut { session, number, line } => json!({
            "event": "left_out", "number": number, "session": name(session), "line": line.line, "sql": line.sql,
        }),
    };
    let waiting = |(session, holders): &(usize, Vec<usize>)| json!({ "session": name(session), "waits_for": holders.iter().map(name).collect::<Vec<_>>() });
    let all: Value = json!({
        "server": played.server,
        "sessions": played.sessions,
        "events": played.events.iter().map(event).collect::<Vec<_>>(),
        "waiting": played.waiting.iter().map(waiting).collect::<Vec<_>>(),
        "outcome": outcome(played),
    });
    // Numbers, strings and lists of them always serialize.
    serde_json::to_string_pretty(&all).unwrap_or_default() + "\n"
}
