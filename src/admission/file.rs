//! Conflict records as JSON lines in a file, on a thread of its own: a slow disk delays no statement.
//!
//! When the file has its size, it becomes `NAME.1`, what was `NAME.1` becomes `NAME.2`, and so on; the oldest goes.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use super::record::Record;
use crate::metrics::Metrics;
use crate::metrics::labels::RecordFate;

/// Where records go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The file.
    pub path: PathBuf,
    /// Bytes after which a new one is begun.
    pub max_bytes: u64,
    /// Old ones that are kept.
    pub keep: usize,
}

/// Records that may wait for the disk; more are lost, and counted.
const QUEUE: usize = 1024;
/// How long the end of the process waits for the disk.
const LAST: Duration = Duration::from_secs(2);

/// The writing end. Nothing waits for the disk here.
#[derive(Debug)]
pub struct Writer {
    queue: SyncSender<Box<Record>>,
    /// Its other end is dropped when all is written.
    done: Receiver<()>,
    metrics: Metrics,
}

impl Writer {
    /// Opens the file, so that a faulty name is told at the start.
    pub fn open(settings: Settings, metrics: Metrics) -> std::io::Result<Writer> {
        let (queue, records) = sync_channel(QUEUE);
        let (writing, done) = sync_channel::<()>(0);
        let file = Rotated::open(settings)?;
        let counted = metrics.clone();
        std::thread::Builder::new().name("conflicts".to_owned()).spawn(move || {
            write_all(file, &records, &counted);
            drop(writing);
        })?;
        Ok(Writer { queue, done, metrics })
    }

    /// Hands a record over; never waits.
    pub fn write(&self, record: &Record) {
        if self.queue.try_send(Box::new(record.clone())).is_err() {
            self.metrics.records.inc(RecordFate::Lost);
        }
    }

    /// Waits until all is written, but not for a disk that hangs.
    pub fn finish(self) {
        drop(self.queue);
        let _ = self.done.recv_timeout(LAST);
    }
}

fn write_all(mut file: Rotated, records: &Receiver<Box<Record>>, metrics: &Metrics) {
    let mut faulty = false;
    for record in records {
        match file.line(&record) {
            Ok(()) => {
                metrics.records.inc(RecordFate::Written);
                faulty = false;
            }
            Err(error) => {
                metrics.records.inc(RecordFate::Lost);
                // One line for each outage.
                if !std::mem::replace(&mut faulty, true) {
                    tracing::warn!(%error, file = %file.settings.path.display(), "conflicts cannot be written");
                }
            }
        }
    }
}

/// The file, and how large it is.
struct Rotated {
    settings: Settings,
    file: File,
    bytes: u64,
}

impl Rotated {
    fn open(settings: Settings) -> std::io::Result<Rotated> {
        let file = append(&settings.path)?;
        let bytes = file.metadata()?.len();
        Ok(Rotated { settings, file, bytes })
    }

    /// Writes a whole line or none.
    fn line(&mut self, record: &Record) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        if self.bytes > 0 && self.bytes + line.len() as u64 > self.settings.max_bytes {
            self.rotate()?;
        }
        if let Err(error) = self.file.write_all(&line) {
            // A disk that is full may have taken half of it. If that cannot be undone, half a line stays.
            let _ = self.file.set_len(self.bytes);
            return Err(error);
        }
        self.bytes += line.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> std::io::Result<()> {
        let path = &self.settings.path;
        for number in (1..self.settings.keep).rev() {
            // One that is not there has not been written yet.
            let _ = std::fs::rename(numbered(path, number), numbered(path, number + 1));
        }
        match self.settings.keep {
            0 => std::fs::remove_file(path)?,
            _ => std::fs::rename(path, numbered(path, 1))?,
        }
        self.file = append(path)?;
        self.bytes = 0;
        Ok(())
    }
}

/// Readable for the owner and the group: records tell what applications do.
fn append(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}
