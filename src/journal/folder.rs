//! The real disk: a folder of the file system, by `std::fs` and rustix. Opened to write by the
//! gateway, which creates it and locks it, and to read by `tidegate log`, which changes nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::Errno;

use super::disk::{Disk, DiskFile, QUARANTINE, write_zeros};

const LOCK: &str = "lock";

/// A log's folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    writable: bool,
    /// Held, and with it the lock, for as long as the disk is.
    lock: Option<File>,
}

impl Folder {
    /// The folder at `path`, created if need be. The folders above it must exist.
    pub fn create(path: &Path) -> io::Result<Self> {
        if let Err(error) = fs::create_dir(path)
            && error.kind() != ErrorKind::AlreadyExists
        {
            return Err(error);
        }
        if let Some(parent) = path.parent() {
            sync_folder(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?;
        }
        Ok(Self { path: path.to_owned(), writable: true, lock: None })
    }

    /// The folder at `path`, to look at: it must exist, is not locked, and nothing can be changed.
    pub fn read_only(path: &Path) -> io::Result<Self> {
        fs::read_dir(path)?;
        Ok(Self { path: path.to_owned(), writable: false, lock: None })
    }
}

impl Disk for Folder {
    type File = File;

    fn path(&self) -> String {
        self.path.display().to_string()
    }

    fn lock(&mut self) -> io::Result<bool> {
        let path = self.path.join(LOCK);
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                self.lock = Some(file);
                Ok(true)
            }
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn list(&self, quarantine: bool) -> io::Result<Vec<String>> {
        let path = if quarantine { self.path.join(QUARANTINE) } else { self.path.clone() };
        let entries = match fs::read_dir(path) {
            Err(error) if error.kind() == ErrorKind::NotFound && quarantine => {
                return Ok(Vec::new());
            }
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                names.extend(entry.file_name().into_string());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(self.writable).open(self.path.join(name))
    }

    fn create(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).open(self.path.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        fs::create_dir_all(self.path.join(QUARANTINE))?;
        fs::hard_link(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        let quarantine = self.path.join(QUARANTINE);
        if quarantine.is_dir() {
            sync_folder(&quarantine)?;
        }
        sync_folder(&self.path)
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

impl DiskFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        Ok(rustix::io::pread(self, buffer, at)?)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        Ok(rustix::io::pwrite(self, bytes, at)?)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        loop {
            match rustix::fs::fallocate(self, FallocateFlags::empty(), 0, length) {
                Err(Errno::INTR) => {}
                // File systems that cannot reserve room are made to by writing.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => return write_zeros(self, 0, length),
                done => return Ok(done?),
            }
        }
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
