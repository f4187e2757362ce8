//! What survives a restart: the signatures, as one JSON file in `state.dir`.
//!
//! The file is written to a temporary one beside it, synced and renamed, so it is whole whenever the process
//! or the machine stops. A file that cannot be read is set aside, not overwritten. The command line edits the
//! same file: what it adds and drops while a proxy runs is taken over with the next look at it.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub use super::document::{StateError, parse, text};
use crate::scheduler::signature::{Signature, SignatureId};
use crate::scheduler::signatures::Signatures;

/// The file's name in `state.dir`.
pub const FILE: &str = "signatures.json";

/// The file, and what was in it when it was read or written last.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    seen: Option<SystemTime>,
    known: HashSet<SignatureId>,
    revision: u64,
}

/// The signatures in a file; none if there is no file.
pub fn read(path: &Path) -> Result<Vec<Signature>, StateError> {
    match fs::read(path) {
        Ok(text) => parse(&text, path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(StateError::Io { path: path.display().to_string(), source }),
    }
}

/// Replaces a file as a whole.
pub fn write(path: &Path, signatures: Vec<Signature>) -> Result<(), StateError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let replace = || -> io::Result<()> {
        fs::create_dir_all(directory)?;
        let mut file = tempfile::Builder::new().prefix(".signatures.").tempfile_in(directory)?;
        file.write_all(text(signatures).as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        // The rename itself is in the directory.
        File::open(directory)?.sync_all()
    };
    replace().map_err(|source| StateError::Io { path: path.display().to_string(), source })
}

// === impl StateFile ===

impl StateFile {
    /// Reads the file of a directory into `signatures`. A damaged one is set aside with a warning, one that
    /// cannot be read is an error.
    pub fn open(directory: &Path, signatures: &Signatures) -> Result<StateFile, StateError> {
        let path = directory.join(FILE);
        let read = match read(&path) {
            Err(damaged @ StateError::Damaged { .. }) => {
                let aside = set_aside(&path)?;
                tracing::warn!(error = %damaged, aside = %aside.display(), "signatures set aside");
                Vec::new()
            }
            read => read?,
        };
        let known = read.iter().map(|signature| signature.id).collect();
        signatures.import(read);
        let seen = modified(&path);
        Ok(StateFile { path, seen, known, revision: signatures.revision() })
    }

    /// Takes over what others have done to the file since, and writes what has changed here.
    pub fn sync(&mut self, signatures: &Signatures) -> Result<(), StateError> {
        if modified(&self.path) != self.seen {
            self.take_over(signatures);
        }
        if signatures.revision() == self.revision {
            return Ok(());
        }
        let (revision, all) = (signatures.revision(), signatures.all());
        self.known = all.iter().map(|signature| signature.id).collect();
        write(&self.path, all)?;
        self.revision = revision;
        self.seen = modified(&self.path);
        Ok(())
    }

    fn take_over(&mut self, signatures: &Signatures) {
        self.seen = modified(&self.path);
        match read(&self.path) {
            Ok(theirs) => {
                let ids: HashSet<SignatureId> = theirs.iter().map(|signature| signature.id).collect();
                let dropped = self.known.difference(&ids).filter(|id| signatures.remove(**id)).count();
                let added = theirs.into_iter().filter(|s| !self.known.contains(&s.id)).collect();
                let added = signatures.import(added);
                self.known = ids;
                tracing::info!(added, dropped, "signatures were changed from outside");
            }
            Err(error) => tracing::warn!(%error, "signatures were changed from outside; not taken over"),
        }
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|data| data.modified()).ok()
}

/// Moves a damaged file out of the way: `signatures.json.damaged`, `.damaged.1`, …
fn set_aside(path: &Path) -> Result<PathBuf, StateError> {
    let name = |number: u32| match number {
        0 => path.with_extension("json.damaged"),
        number => path.with_extension(format!("json.damaged.{number}")),
    };
    let free = (0..100).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(0));
    match fs::rename(path, &free) {
        Ok(()) => Ok(free),
        Err(source) => Err(StateError::Io { path: path.display().to_string(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::DigestId;
    use crate::scheduler::signature::{KnownBy, Party, Ran};

    fn signature(number: u128) -> Signature {
        let ran = |digest| Ran { digest: DigestId(digest), locks: true, text: "x".into(), ..Ran::default() };
        let party = |digest| Party { statements: vec![ran(digest), ran(digest + 1)], ..Party::default() };
        Signature::of(&[party(number), party(number + 5)], KnownBy::Server, 7).unwrap()
    }

    fn with(numbers: &[u128]) -> Signatures {
        let signatures = Signatures::default();
        for number in numbers {
            signatures.record(signature(*number));
        }
        signatures
    }

    #[test]
    fn signatures_survive() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = StateFile::open(dir.path(), &Signatures::default()).unwrap();
        let before = with(&[1, 20]);
        file.sync(&before).unwrap();
        let after = Signatures::default();
        StateFile::open(dir.path(), &after).unwrap();
        assert_eq!(after.all(), before.all());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn files_are_for_the_owner() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join(FILE), with(&[1]).all()).unwrap();
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }

    #[test]
    fn a_damaged_file_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["{\"version\": 1, \"signatures\": [", "{\"version\": 9, \"signatures\": []}", ""] {
            fs::write(dir.path().join(FILE), text).unwrap();
            let signatures = Signatures::default();
            let mut file = StateFile::open(dir.path(), &signatures).unwrap();
            assert!(signatures.is_empty());
            signatures.record(signature(1));
            file.sync(&signatures).unwrap();
            assert_eq!(read(&dir.path().join(FILE)).unwrap().len(), 1);
        }
        let kept = fs::read_to_string(dir.path().join("signatures.json.damaged.1")).unwrap();
        assert!(kept.contains("\"version\": 9"));
    }

    #[test]
    fn what_others_do_to_the_file_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let mut file = StateFile::open(dir.path(), &Signatures::default()).unwrap();
        let running = with(&[1, 20]);
        file.sync(&running).unwrap();
        // Somebody drops one and adds one.
        let earlier = modified(&path);
        write(&path, vec![signature(20), signature(40)]).unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_ne!(modified(&path), earlier);
        running.record(signature(60));
        file.sync(&running).unwrap();
        let mut ids: Vec<SignatureId> = running.all().iter().map(|s| s.id).collect();
        let mut expected = [20, 40, 60].map(|n| signature(n).id).to_vec();
        ids.sort();
        expected.sort();
        assert_eq!(ids, expected);
        assert_eq!(read(&path).unwrap().len(), 3);
    }

    #[test]
    fn nonsense_is_refused() {
        let mut odd = signature(1);
        odd.roles[0].entry = 9;
        assert!(matches!(parse(text(vec![odd]).as_bytes(), Path::new("x")), Err(StateError::Damaged { .. })));
    }
}
