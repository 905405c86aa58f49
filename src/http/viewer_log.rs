//! The log of viewers: JSON lines in a file for later analysis, with rotation.
//!
//! Owns the file and the thread that writes it. Must never make anybody wait: a full queue or disk loses lines, counts
//! them and says so once. Input: lines, one JSON object each, without anybody's address.

use crate::metrics::Count;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use tracing::{info, warn};

/// Lines waiting for the disk.
const QUEUE: usize = 256;
/// Files, the one in use included.
const FILES: u32 = 3;

pub struct ViewerLog {
    queue: SyncSender<String>,
    lost: Arc<Count>,
}

impl ViewerLog {
    pub fn start(path: &Path, limit_bytes: u64) -> std::io::Result<ViewerLog> {
        let (queue, lines) = sync_channel::<String>(QUEUE);
        let lost = Arc::new(Count::default());
        let mut writer = Writer { path: path.into(), limit_bytes, file: None, is_failing: false, lost: lost.clone() };
        let run = move || lines.iter().for_each(|line| writer.write(&line));
        std::thread::Builder::new().name("viewer-log".into()).spawn(run)?;
        Ok(ViewerLog { queue, lost })
    }

    pub fn write(&self, line: String) {
        if self.queue.try_send(line).is_err() {
            self.lost.inc();
        }
    }

    /// Lines that never reached the file.
    pub fn lost(&self) -> u64 {
        self.lost.read()
    }
}

struct Writer {
    path: PathBuf,
    limit_bytes: u64,
    /// And its length.
    file: Option<(File, u64)>,
    is_failing: bool,
    lost: Arc<Count>,
}

impl Writer {
    fn write(&mut self, line: &str) {
        match self.try_write(line) {
            Ok(()) if self.is_failing => {
                self.is_failing = false;
                info!("log of viewers {}: writing again; {} lines lost so far", self.path.display(), self.lost.read());
            }
            Ok(()) => {}
            Err(error) => {
                // opened anew next time: the folder may come back
                self.file = None;
                self.lost.inc();
                if !std::mem::replace(&mut self.is_failing, true) {
                    warn!("log of viewers {}: {error}; losing lines until it can be written", self.path.display());
                }
            }
        }
    }

    fn try_write(&mut self, line: &str) -> std::io::Result<()> {
        let bytes = line.len() as u64 + 1;
        if self.file.as_ref().is_some_and(|(_, length)| length + bytes > self.limit_bytes) {
            self.file = None;
            self.rotate()?;
        }
        if self.file.is_none() {
            let file = OpenOptions::new().append(true).create(true).open(&self.path)?;
            let length = file.metadata()?.len();
            self.file = Some((file, length));
        }
        if let Some((file, length)) = &mut self.file {
            let written = file.write_all(format!("{line}\n").as_bytes());
            if written.is_err() {
                // a disk that fills up takes half a line, which would spoil the next one too; what is told is why it did
                let _ = file.set_len(*length);
            }
            written?;
            *length += bytes;
        }
        Ok(())
    }

    fn rotate(&self) -> std::io::Result<()> {
        for number in (1..FILES).rev() {
            let from = if number == 1 { self.path.clone() } else { self.numbered(number - 1) };
            match std::fs::rename(from, self.numbered(number)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(path: PathBuf) -> Writer {
        Writer { path, limit_bytes: 20, file: None, is_failing: false, lost: Arc::default() }
    }

    #[test]
    fn full_files_make_room_and_only_three_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(folder.path().join("viewers"));
        (0..8).for_each(|number| writer.write(&format!("{{\"line\":{number}}}")));
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        assert_eq!(read("viewers"), "{\"line\":7}\n");
        assert_eq!((read("viewers.1").lines().count(), read("viewers.2").lines().count()), (1, 1));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_file_that_cannot_be_written_loses_lines_until_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(folder.path().join("later/viewers"));
        writer.write("a");
        writer.write("b");
        assert_eq!((writer.lost.read(), writer.is_failing), (2, true));
        std::fs::create_dir(folder.path().join("later")).unwrap();
        writer.write("c");
        assert!(!writer.is_failing);
        assert_eq!(std::fs::read_to_string(&writer.path).unwrap(), "c\n");
    }

    #[test]
    fn a_full_disk_is_called_so() {
        let error = writer("/dev/full".into()).try_write("a").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }
}
