//! The log on a real file system: the lock between processes, a kill in the middle of writing, and
//! `tidegate log` as a process. What it promises is tested on a simulated disk, in `src/journal`.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tidegate::journal::{
    BootId, Ended, Folder, Item, Journal, OpenError, Options, Record, Recovered, Retain, Session,
    SyncMode, To,
};
use tidegate::sse::Epoch;

/// A folder that is removed when the test ends.
struct TempFolder(PathBuf);

impl TempFolder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("tidegate-journal-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn name(&self) -> String {
        self.0.display().to_string()
    }

    /// Every file with its bytes.
    fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
        entries
            .filter(|path| path.is_file())
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect()
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn try_open(
    path: &Path,
    mut visit: impl FnMut(Item<'_>),
) -> Result<(Journal<Folder>, Recovered), OpenError> {
    let options = Options { segment_bytes: 64 << 10, bytes_max: 1 << 30, age_max: Duration::MAX };
    let session = Session {
        mode: SyncMode::Interval,
        fresh_epoch: Epoch::new(0xabc),
        salt: 7,
        boot: BootId::current(),
        now_ms: 1_000,
    };
    Journal::open(Folder::create(path).unwrap(), options, session, &mut visit)
}

/// Opens a log that nobody has any more. A process that another test starts at this very moment has all of our
/// descriptors, and with them the lock, until it becomes its own program.
fn open(path: &Path, mut visit: impl FnMut(Item<'_>)) -> (Journal<Folder>, Recovered) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match try_open(path, &mut visit) {
            Err(OpenError::Locked { .. }) if Instant::now() < deadline => thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

fn record(seq: u64, frame: &[u8]) -> Record<'_> {
    Record {
        seq,
        accepted_ms: 1_700_000_000_000 + seq,
        expires_ms: None,
        to: To::Everyone,
        retain: Retain::No,
        key: None,
        frame,
    }
}

fn write_some(journal: &mut Journal<Folder>, count: u64) {
    for _ in 0..count {
        journal.append(&record(journal.next_seq(), &[b'x'; 200])).unwrap();
        journal.write().unwrap();
    }
}

fn tidegate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A thread of its own will have the log.
#[test]
fn a_log_can_move_to_another_thread() {
    let folder = TempFolder::new("thread");
    let (journal, _) = open(&folder.0, |_| {});
    thread::spawn(move || journal.close().unwrap()).join().unwrap();
    assert_eq!(open(&folder.0, |_| {}).1.ended, Ended::Clean);
}

#[test]
fn f67_the_lock_is_held_between_processes_and_named() {
    let folder = TempFolder::new("lock");
    let (journal, _) = open(&folder.0, |_| {});
    // Two handles of one process exclude each other as two processes do.
    let error = try_open(&folder.0, |_| {}).map(|_| ()).unwrap_err();
    let expected =
        format!("the log in {} is in use by another process; one at a time", folder.name());
    assert_eq!(error.to_string(), expected);
    drop(journal);
    open(&folder.0, |_| {});
}

/// The child of the next test: writes and says what was written, until it is killed.
#[test]
#[ignore = "a process that the next test starts"]
fn write_until_killed() {
    let Some(path) = std::env::var_os("JOURNAL_FOLDER") else { return };
    let (mut journal, _) = open(Path::new(&path), |_| {});
    loop {
        write_some(&mut journal, 1);
        println!("written {}", journal.next_seq() - 1);
    }
}

#[test]
fn f79_what_was_written_survives_sigkill() {
    let folder = TempFolder::new("kill");
    let mut last_seen = 0;
    for round in 1..=10_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "write_until_killed", "--ignored", "--nocapture"])
            .env("JOURNAL_FOLDER", &folder.0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let written = |line: String| line.rsplit_once("written ")?.1.parse().ok();
        for seq in lines.by_ref().filter_map(written).take(50 * round as usize) {
            last_seen = seq;
        }
        child.kill().unwrap();
        // What was still in the pipe was written too.
        last_seen = lines.filter_map(written).last().unwrap_or(last_seen);
        child.wait().unwrap();
        let mut next = 1;
        let (journal, recovered) = open(&folder.0, |item| match item {
            Item::Record(record, _) => {
                assert_eq!((record.seq, record.frame), (next, &[b'x'; 200][..]));
                next += 1;
            }
            Item::Value(_) | Item::Hole(_) => panic!("{item:?}"),
        });
        assert!(next > last_seen, "{last_seen} is lost");
        assert_eq!((recovered.ended, recovered.next_seq), (Ended::Killed, next));
        assert!(recovered.findings.iter().all(|finding| !finding.is_damage()));
        drop(journal);
    }
}

#[test]
fn inspect_and_verify_look_at_a_log_that_is_in_use() {
    let folder = TempFolder::new("in-use");
    let (mut journal, _) = open(&folder.0, |_| {});
    write_some(&mut journal, 600);
    let before = folder.contents();
    let shown = tidegate(&["log", "inspect", &folder.name()]);
    assert_eq!(shown.status.code(), Some(0));
    let shown = text(&shown.stdout);
    for line in [
        "epoch        000000000abc\n",
        "fsync        interval\n",
        "seqs         from 1, next 601\n",
        "records      600\n",
        "segment      0000000001.log complete: seqs 1 to before ",
        "segment      0000000003.log open: seqs ",
        "2023-11-14T22:13:20.001Z to ",
    ] {
        assert!(shown.contains(line), "{line:?} in {shown}");
    }
    let verified = tidegate(&["log", "verify", &folder.name()]);
    assert_eq!(verified.status.code(), Some(0));
    let summary = text(&verified.stdout);
    assert!(summary.contains(": 600 records, 3 segments, ") && summary.ends_with(", 0 faults\n"));
    assert_eq!(folder.contents(), before, "nothing is changed");
    write_some(&mut journal, 1);
    journal.close().unwrap();
}

#[test]
fn f66_verify_names_the_file_and_the_place_of_damage() {
    let folder = TempFolder::new("damage");
    let (mut journal, _) = open(&folder.0, |_| {});
    write_some(&mut journal, 600);
    journal.close().unwrap();
    let file = folder.0.join("0000000002.log");
    let mut bytes = fs::read(&file).unwrap();
    bytes[1000] ^= 1;
    fs::write(&file, bytes).unwrap();
    let before = folder.contents();

    let verified = tidegate(&["log", "verify", &folder.name()]);
    assert_eq!(verified.status.code(), Some(1));
    let place = format!("fault: {}:789: damaged from here on\n", file.display());
    assert!(text(&verified.stdout).contains(&place), "{}", text(&verified.stdout));
    let json = tidegate(&["log", "verify", "--json", &folder.name()]);
    assert_eq!(json.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["faults"][0]["file"], "0000000002.log");
    assert_eq!(json["faults"][0]["offset"], 789);
    assert_eq!(folder.contents(), before, "nothing is changed");

    // Opening sets the file aside and declares what is lost, once.
    let mut holes = Vec::new();
    let note_hole = |item: Item<'_>| {
        if let Item::Hole(hole) = item {
            holes.push(hole);
        }
    };
    drop(open(&folder.0, note_hole));
    assert_eq!(holes.len(), 1);
    let shown = text(&tidegate(&["log", "inspect", &folder.name()]).stdout);
    let hole = format!("hole         {} to {}\n", holes[0].after + 1, holes[0].to);
    assert!(shown.contains(&hole), "{hole:?} in {shown}");
    assert!(shown.contains("quarantined  quarantine/0000000002.log\n"), "{shown}");
    assert!(shown.contains("0000000002.log repaired: "), "{shown}");
    assert_eq!(tidegate(&["log", "verify", &folder.name()]).status.code(), Some(0));
}

#[test]
fn what_cannot_be_read_is_exit_code_2() {
    let folder = TempFolder::new("none");
    let missing = tidegate(&["log", "verify", &folder.name()]);
    assert_eq!(missing.status.code(), Some(2));
    let error = format!("tidegate: error: {}: No such file or directory", folder.name());
    assert!(text(&missing.stderr).starts_with(&error), "{}", text(&missing.stderr));
    fs::create_dir(&folder.0).unwrap();
    for verb in ["inspect", "verify"] {
        let empty = tidegate(&["log", verb, &folder.name()]);
        assert_eq!(empty.status.code(), Some(2));
        assert!(text(&empty.stderr).contains("cannot find a log"), "{}", text(&empty.stderr));
    }
}
