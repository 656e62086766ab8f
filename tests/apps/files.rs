//! Files of 100 MB, up and down: whole, and never in the gateway's memory.

use std::fs::File;
use std::io::{Read as _, Write as _, copy};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::edge::{Edge, edges, sha256};
use crate::support::{eventually, pause};

const FILE_BYTES: u64 = 100_000_000;
/// What the gateway may grow by while files pass: buffers of a few connections, and what the
/// allocator keeps.
const GROWTH_BYTES_MAX: u64 = 4 << 20;

#[test]
fn files_pass_whole_and_leave_nothing_in_memory() {
    for edge in edges() {
        let (file, sum) = random_file(&edge);
        // What is there from the first requests on is not what files cost.
        upload(&edge, "small", &crate::process::project().join("Cargo.lock"), &[]);
        let before = edge.gateway.peak_rss();
        for framing in [&[][..], &["--header", "transfer-encoding: chunked"]] {
            let stored = upload(&edge, "large", &file, framing);
            assert_eq!(stored, json!({"bytes": FILE_BYTES, "sha256": sum}));
        }
        let copy = edge.files.path().join("copy");
        for path in ["/files/large", "/files/large?stream"] {
            let output = copy.to_str().expect("temporary paths are text");
            let sent = edge.ask(path, &["--output", output]).expect_status(200);
            let length = FILE_BYTES.to_string();
            let has_length = !path.ends_with("stream");
            assert_eq!(sent.header("content-length"), has_length.then_some(&*length));
            assert_eq!(sha256(File::open(&copy).expect("curl has written it")), sum, "{path}");
        }
        expect_no_growth(&edge, before);
    }
}

#[test]
fn who_reads_slowly_slows_the_app_and_not_the_memory() {
    for edge in edges() {
        let (file, sum) = random_file(&edge);
        upload(&edge, "large", &file, &[]);
        let before = edge.gateway.peak_rss();
        // They read no further than their pipe is long.
        let mut readers: Vec<Reader> = ["/files/large", "/files/large?stream"]
            .repeat(2)
            .iter()
            .map(|path| Reader::start(&edge, path))
            .collect();
        eventually("the gateway to rest", || {
            let before = edge.gateway.cpu_time();
            pause(Duration::from_millis(300));
            (edge.gateway.cpu_time() - before <= Duration::from_millis(10)).then_some(())
        });
        // The others get theirs meanwhile.
        edge.ask("/api/items", &[]).expect_status(200);
        for reader in &mut readers {
            assert!(reader.is_running(), "the download is over though nobody has read it");
        }
        let last = readers.pop().expect("there is one");
        let (bytes, read_sum) = last.read_all(&edge);
        assert_eq!((bytes, read_sum), (FILE_BYTES, sum));
        expect_no_growth(&edge, before);
    }
}

#[test]
fn a_file_that_the_app_refuses_at_once_is_answered() {
    for edge in edges() {
        let path = edge.files.path().join("too-large");
        File::create(&path).and_then(|file| file.set_len(200 << 20)).expect("a sparse file");
        // A client that waits for the go-ahead, and one that does not.
        for expect in ["expect: 100-continue", "expect:"] {
            let path = path.to_str().expect("temporary paths are text");
            // curl 7 takes it for a failure when HTTP/2 ends an upload that is answered (RFC 9113, 8.1).
            let args = ["--http1.1", "--upload-file", path, "--header", expect];
            let refused = edge.ask("/files/too-large", &args).expect_status(413);
            assert_eq!(refused.json(), json!({"error": "at most 128 MiB"}));
        }
    }
}

/// A file that repeats nothing, and its SHA-256.
fn random_file(edge: &Edge) -> (PathBuf, String) {
    let path = edge.files.path().join("original");
    let mut file = File::create(&path).expect("a file can be made");
    let mut random = fastrand::Rng::with_seed(7);
    let mut part = vec![0; 1_000_000];
    for _ in 0..FILE_BYTES / 1_000_000 {
        random.fill(&mut part);
        file.write_all(&part).expect("there is room for the file");
    }
    let sum = sha256(File::open(&path).expect("it was written"));
    (path, sum)
}

/// Uploads a file; gives what the app says it has stored.
#[track_caller]
fn upload(edge: &Edge, name: &str, file: &Path, args: &[&str]) -> serde_json::Value {
    let file = file.to_str().expect("paths are text here");
    let args = [args, &["--upload-file", file]].concat();
    edge.ask(&format!("/files/{name}"), &args).expect_status(200).json()
}

#[track_caller]
fn expect_no_growth(edge: &Edge, before: u64) {
    let growth = edge.gateway.peak_rss() - before;
    assert!(growth <= GROWTH_BYTES_MAX, "the gateway has grown by {growth} bytes");
}

/// A download that has begun and that nobody reads on.
struct Reader {
    curl: Child,
    first: [u8; 1],
}

impl Reader {
    fn start(edge: &Edge, path: &str) -> Self {
        let mut curl = edge.curl(path).stdout(Stdio::piped()).spawn().expect("curl is installed");
        let mut first = [0];
        let stdout = curl.stdout.as_mut().expect("stdout is piped");
        stdout.read_exact(&mut first).expect("a download begins");
        Self { curl, first }
    }

    fn is_running(&mut self) -> bool {
        matches!(self.curl.try_wait(), Ok(None))
    }

    /// Reads all of it; gives how much there was, and its SHA-256.
    #[track_caller]
    fn read_all(mut self, edge: &Edge) -> (u64, String) {
        let path = edge.files.path().join("read");
        let stdout = self.curl.stdout.take().expect("stdout is piped");
        let mut file = File::create(&path).expect("a file can be made");
        let mut all = self.first.chain(stdout);
        let bytes = copy(&mut all, &mut file).expect("curl writes what it gets");
        (bytes, sha256(File::open(&path).expect("it was written")))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.curl.kill();
        let _ = self.curl.wait();
    }
}
