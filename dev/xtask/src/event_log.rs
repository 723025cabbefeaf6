//! What `up` has delivered since it began, for `tail` to read meanwhile: one CloudEvent a line, in `.local/events.jsonl`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::project::Project;

const FILE: &str = "events.jsonl";

/// From this size on it begins anew, so that a long run does not fill the disk.
const LARGEST: u64 = 64 * 1024 * 1024;

/// Writes it. As long as this lives the file is locked: that is how a reader knows that more may come.
pub(crate) struct Writer {
    path: PathBuf,
    largest: u64,
    current: Mutex<(File, u64)>,
}

impl Writer {
    /// Begins anew.
    pub(crate) fn create(project: &Project) -> Result<Self> {
        Self::begin(project.local(FILE), LARGEST)
    }

    fn begin(path: PathBuf, largest: u64) -> Result<Self> {
        let file = begin(&path).with_context(|| format!("write {}", path.display()))?;
        Ok(Self { path, largest, current: Mutex::new((file, 0)) })
    }

    /// Errors: of the disk.
    pub(crate) fn append(&self, event: &Value) -> io::Result<()> {
        let line = format!("{event}\n");
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.1 >= self.largest {
            *current = (begin(&self.path)?, 0);
        }
        current.1 += line.len() as u64;
        current.0.write_all(line.as_bytes())
    }
}

/// An empty file of its own, so that whoever reads the one before comes to its end; and locked before anybody sees it.
fn begin(path: &Path) -> io::Result<File> {
    let unseen = path.with_extension("new");
    // Titles are nobody else's business.
    let file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&unseen)?;
    file.lock()?;
    fs::rename(&unseen, path)?;
    Ok(file)
}

/// Reads it while it is being written.
pub(crate) struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    /// Of the next line, what was there when it was read last.
    line: Vec<u8>,
}

impl Reader {
    /// From its beginning or from now on. Errors: nobody writes it.
    pub(crate) fn open(project: &Project, from_beginning: bool) -> Result<Self> {
        Self::open_file(project.local(FILE), from_beginning)
    }

    fn open_file(path: PathBuf, from_beginning: bool) -> Result<Self> {
        let Some(mut file) = File::open(&path).ok().filter(is_being_written) else {
            bail!(
                "no `cargo xtask up` that delivers events is running in this clone: start it in another terminal, or read \
                 from Kafka with --kafka HOST:PORT"
            );
        };
        if !from_beginning {
            file.seek(SeekFrom::End(0)).with_context(|| format!("read {}", path.display()))?;
        }
        Ok(Self { path, file: BufReader::new(file), line: Vec::new() })
    }

    /// The next event; `None` while there is none. Errors: there will be none, since whoever wrote them has ended.
    pub(crate) fn next(&mut self) -> Result<Option<Value>> {
        if let Some(event) = self.read()? {
            return Ok(Some(event));
        }
        if is_being_written(self.file.get_ref()) {
            return Ok(None);
        }
        // What was written between the two looks.
        if let Some(event) = self.read()? {
            return Ok(Some(event));
        }
        self.go_on()?;
        self.read()
    }

    fn read(&mut self) -> Result<Option<Value>> {
        self.file
            .read_until(b'\n', &mut self.line)
            .with_context(|| format!("read {}", self.path.display()))?;
        if !self.line.ends_with(b"\n") {
            return Ok(None);
        }
        let event = serde_json::from_slice(&self.line).with_context(|| format!("{}", self.path.display()));
        self.line.clear();
        event.map(Some)
    }

    /// With the file that was begun after this one.
    fn go_on(&mut self) -> Result<()> {
        let inode = self.file.get_ref().metadata()?.ino();
        let next = File::open(&self.path).ok().filter(is_being_written);
        match next.filter(|file| file.metadata().is_ok_and(|found| found.ino() != inode)) {
            Some(file) => (self.file, self.line) = (BufReader::new(file), Vec::new()),
            None => bail!("`cargo xtask up` has ended, and with it the events"),
        }
        Ok(())
    }
}

fn is_being_written(file: &File) -> bool {
    // Only a writer's lock keeps this one out; it is given back at once.
    file.try_lock_shared().is_err() || file.unlock().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("event-log-{}-{name}.jsonl", std::process::id()))
    }

    #[test]
    fn a_reader_gets_what_is_written_and_learns_of_the_end() {
        let path = path("end");
        let writer = Writer::begin(path.clone(), LARGEST).unwrap();
        writer.append(&json!(1)).unwrap();
        let mut all = Reader::open_file(path.clone(), true).unwrap();
        let mut new = Reader::open_file(path.clone(), false).unwrap();
        writer.append(&json!(2)).unwrap();
        assert_eq!(
            [all.next().unwrap(), all.next().unwrap(), all.next().unwrap()],
            [Some(json!(1)), Some(json!(2)), None]
        );
        assert_eq!([new.next().unwrap(), new.next().unwrap()], [Some(json!(2)), None]);
        writer.append(&json!(3)).unwrap();
        drop(writer);
        assert_eq!(all.next().unwrap(), Some(json!(3)));
        assert!(all.next().unwrap_err().to_string().contains("has ended"));
        assert!(Reader::open_file(path.clone(), true).is_err());
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_reader_goes_on_with_the_file_that_is_begun_when_one_is_full() {
        let path = path("full");
        let writer = Writer::begin(path.clone(), 8).unwrap();
        let mut reader = Reader::open_file(path.clone(), true).unwrap();
        let mut read = Vec::new();
        for number in 0..20 {
            writer.append(&json!(number)).unwrap();
            read.extend(reader.next().unwrap());
        }
        assert!(fs::metadata(&path).unwrap().len() < 20);
        assert_eq!(read, (0..20).map(|number| json!(number)).collect::<Vec<_>>());
        fs::remove_file(path).unwrap();
    }
}
