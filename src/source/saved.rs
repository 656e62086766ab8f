//! The file that keeps the sources which were put by the API: a JSON array of what was put.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::config::schema::Source;

/// It holds secrets.
const OWNER_ONLY: u32 = 0o600;

/// Reads the file. One that is not there holds nothing.
///
/// # Errors
/// The file, and what is wrong with it.
pub(super) fn read(path: &Path) -> Result<Vec<Source>, String> {
    let failed = |why: String| format!("{}: {why}; mend the file, or remove it", path.display());
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error.to_string())),
    };
    let sources: Vec<Source> =
        serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
    let faults = sources.iter().enumerate().flat_map(|(index, source)| {
        source.faults().into_iter().map(move |fault| format!("`[{index}].{fault}"))
    });
    match faults.collect::<Vec<_>>() {
        faults if faults.is_empty() => Ok(sources),
        faults => Err(failed(faults.join(", "))),
    }
}

/// Writes the file as a whole: at any moment there is the old one or the new one.
///
/// # Errors
/// The disk's.
pub(super) fn write(path: &Path, sources: &[Source]) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(sources)?;
    text.push(b'\n');
    let new = path.with_added_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(OWNER_ONLY).open(&new)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
