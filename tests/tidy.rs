//! The house rules that a compiler does not know: imports go one way, outside crates stay in their rooms,
//! pure rooms have no clock and no async, every file says what it is for.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms in reading order, with the rooms that each may import from.
const ROOMS: &[(&str, &[&str])] = &[
    ("id", &[]),
    ("wire", &[]),
    ("sql", &[]),
    ("catalog", &["id", "sql"]),
    ("txn", &["sql"]),
    ("lock", &["id"]),
    ("intent", &["id", "sql", "catalog", "txn", "lock"]),
    ("scheduler", &["id", "lock"]),
    ("shutdown", &[]),
    ("metrics", &["sql", "lock", "scheduler"]),
    ("backend", &["id", "wire", "sql", "catalog", "metrics"]),
    ("admission", &["id", "lock", "scheduler", "metrics", "shutdown"]),
    (
        "session",
        &[
            "id",
            "wire",
            "sql",
            "catalog",
            "txn",
            "lock",
            "intent",
            "scheduler",
            "shutdown",
            "metrics",
            "backend",
            "admission",
        ],
    ),
    ("frontend", &["wire", "backend", "session", "metrics", "shutdown"]),
    ("admin", &["id", "sql", "lock", "scheduler", "admission", "metrics", "shutdown"]),
    ("config", &["backend"]),
];

/// Rooms without I/O, clock and async.
const PURE: &[&str] = &["id", "wire", "sql", "catalog", "txn", "lock", "intent", "scheduler"];

/// Outside crates that only these rooms name. `app` and `cli` may name everything.
const CRATES: &[(&str, &[&str])] = &[
    ("sqlparser", &["sql"]),
    ("mysql_common", &["wire", "session"]),
    ("mysql_async", &["backend"]),
    ("prometheus", &["metrics"]),
    ("axum", &["admin"]),
    ("opensrv_mysql", &["admin"]),
    ("schemars", &["admin", "admission"]),
    ("dashmap", &["lock", "admission", "backend"]),
    ("rustls", &["frontend", "backend", "session"]),
];

/// Longest file, in lines.
const LONGEST: usize = 600;

fn files(room: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let file = PathBuf::from(format!("src/{room}.rs"));
    if file.exists() {
        found.push(file);
    }
    walk(Path::new(&format!("src/{room}")), &mut found);
    assert!(!found.is_empty(), "room {room} has no file");
    found
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries {
        let path = entry.expect("a readable directory").path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The code of a file, without its comments and its tests at the end.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a readable file");
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or("").to_owned();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn is_test(path: &Path) -> bool {
    path.to_string_lossy().contains("test")
}

#[test]
fn imports_go_one_way() {
    let mut faults = Vec::new();
    for (room, allowed) in ROOMS {
        for path in files(room).iter().filter(|path| !is_test(path)) {
            let code = code(path);
            for (other, _) in ROOMS.iter().filter(|(other, _)| other != room) {
                let used =
                    code.contains(&format!("crate::{other}::")) || code.contains(&format!("crate::{other};"));
                if used && !allowed.contains(other) {
                    faults.push(format!("{} imports {other}", path.display()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn outside_crates_stay_in_their_rooms() {
    let mut faults = Vec::new();
    for (room, _) in ROOMS {
        for path in files(room).iter().filter(|path| !is_test(path)) {
            let code = code(path);
            for (name, rooms) in CRATES.iter().filter(|(_, rooms)| !rooms.contains(room)) {
                if code.contains(&format!("{name}::")) {
                    faults.push(format!("{} names {name}, which belongs to {rooms:?}", path.display()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn pure_rooms_have_no_clock_and_no_async() {
    let mut faults = Vec::new();
    for path in PURE.iter().flat_map(|room| files(room)).filter(|path| !is_test(path)) {
        let code = code(&path);
        for word in
            ["Instant::now", "SystemTime::now", "async fn", ".await", "std::net", "std::fs", "tokio::"]
        {
            if code.contains(word) {
                faults.push(format!("{} has {word}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_file_says_what_it_is_for_and_stays_short() {
    let mut all = Vec::new();
    walk(Path::new("src"), &mut all);
    let mut faults = BTreeMap::new();
    for path in all {
        let text = fs::read_to_string(&path).expect("a readable file");
        if !text.starts_with("//!") {
            faults.insert(path.clone(), "does not open with //!".to_owned());
        }
        let lines = text.lines().count();
        if lines > LONGEST {
            faults.insert(path, format!("has {lines} lines"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// The page on security names its tests as `[function](../file)`; each must be there.
#[test]
fn the_page_on_security_names_tests_that_exist() {
    let page = fs::read_to_string("deploy/SECURITY.md").expect("the page");
    let mut named = 0;
    let mut faults = Vec::new();
    for part in page.split("](../").skip(1) {
        let file = part.split(')').next().unwrap_or_default();
        let before = &page[..part.as_ptr() as usize - page.as_ptr() as usize - "](../".len()];
        let function = before.rsplit('[').next().unwrap_or_default();
        let text = fs::read_to_string(file).unwrap_or_default();
        let test = text.split("#[test]").chain(text.split("#[tokio::test")).skip(1);
        let there = test
            .into_iter()
            .any(|rest| rest.lines().take(4).any(|line| line.contains(&format!("fn {function}("))));
        if !there {
            faults.push(format!("{file} has no test {function}"));
        }
        named += 1;
    }
    assert!(faults.is_empty() && named > 60, "{named} named: {faults:#?}");
}

/// What is secret can be read in few places, and is compared there in a time that tells nothing.
#[test]
fn secrets_are_compared_in_constant_time() {
    let mut all = Vec::new();
    walk(Path::new("src"), &mut all);
    let read: Vec<String> = all
        .iter()
        .filter(|path| !is_test(path) && code(path).contains(".expose()"))
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    let mut read: Vec<&str> = read.iter().map(String::as_str).collect();
    read.sort_unstable();
    assert_eq!(read, ["src/app/look.rs", "src/app/map.rs", "src/cli/explain.rs"], "who reads secrets");
    // `look` hands them to these two, and to nobody else; the others log in with them.
    let look = code(Path::new("src/app/look.rs"));
    assert_eq!(look.matches(".expose()").count(), 2);
    for (file, holder) in
        [("src/admin/guard.rs", "Access::new("), ("src/admin/console/account.rs", "Accounts::new(")]
    {
        assert!(look.lines().any(|line| line.contains(".expose()") && line.contains(holder)), "{holder}");
        let code = code(Path::new(file));
        assert!(code.contains("verify_slices_are_equal("), "{file}");
        for plain in ["== token", "== self.token", "== hash", "!= hash", ".eq(hash"] {
            assert!(!code.contains(plain), "{file} compares a secret with {plain}");
        }
    }
}
