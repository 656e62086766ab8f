//! A scene's own world, in which commands run as they are written: with the ports and paths that the pages name,
//! and without a trace afterwards. The test program runs itself once more in there, so that a scene is plain code.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::process::project;
use crate::support::Folder;

/// Set in a scene's world.
const INSIDE: &str = "TIDEGATE_WALKTHROUGH";

/// How the line begins that says what is not tested.
const SKIPPED: &str = "skipped: ";

/// What a command may rely on in a terminal.
const KEPT: &[&str] =
    &["PATH", "HOME", "LANG", "TERM", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"];

/// As the machine's root, which this process may be; else as root of a user namespace, where those are allowed.
const WAYS_IN: [&[&str]; 2] = [&[], &["--user", "--map-root-user"]];

static WAY_IN: OnceLock<Result<&[&str], String>> = OnceLock::new();

/// The first way that this machine allows, or what it says to the last. A machine that allows one has to have
/// what a world is made of: there, nothing is skipped.
fn find_way_in() -> Result<&'static [&'static str], String> {
    let mut why = String::new();
    for way in WAYS_IN {
        let output = namespaces(way).arg("true").output().expect("util-linux is on every system");
        if output.status.success() {
            return Ok(way);
        }
        why = String::from_utf8_lossy(&output.stderr).into_owned();
    }
    Err(why)
}

fn namespaces(way_in: &[&str]) -> Command {
    let mut unshare = Command::new("unshare");
    unshare.args(way_in);
    unshare.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    unshare
}

/// Whether this process is in the world of a scene.
pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs the test of this name once more, in a world that is made for it. Where none can be made it is skipped.
#[track_caller]
pub(crate) fn run(test: &str) {
    let way_in = match WAY_IN.get_or_init(find_way_in) {
        Ok(way_in) => way_in,
        Err(why) => return skip(&format!("no world for a scene: {why}")),
    };
    let program = std::env::current_exe().expect("this program has a path");
    let arguments = ["--exact", test, "--nocapture", "--test-threads=1"].map(Path::new);
    let Output { status, stdout, stderr } =
        enter(way_in, &[&[program.as_path()], &arguments[..]].concat());
    let said = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
    assert!(status.success() && said.contains("1 passed"), "{status}\n{said}");
    said.lines().filter(|line| line.starts_with(SKIPPED)).for_each(|line| println!("{line}"));
}

/// Says that something is not tested on this machine.
pub(crate) fn skip(why: &str) {
    println!("{SKIPPED}{why}");
}

/// Runs a command to its end in a world of its own.
fn enter(way_in: &[&str], command: &[&Path]) -> Output {
    let binary = Path::new(env!("CARGO_BIN_EXE_tidegate"));
    let folder = Folder::new();
    let mut unshare = namespaces(way_in);
    unshare.arg("sh").arg(project().join("tests/walkthrough/world.sh"));
    unshare
        .arg(folder.path())
        .arg(project())
        .arg(binary.parent().expect("a binary is in a folder"));
    unshare.args(command).env_clear().env(INSIDE, "1").env("CARGO_NET_OFFLINE", "true");
    unshare.envs(KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    unshare.output().expect("util-linux is on every system")
}
