//! A machine with a systemd of its own, in namespaces of this one. It takes root, and a kernel that lets it be
//! made; without them its tests say that they are skipped.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::program::{expect, program, run};
use crate::support::lines::Lines;
use crate::support::{Deadline, Folder, eventually};

/// Longest for one command on it, in seconds; stopping a service is one.
const COMMAND_SECONDS: &str = "60";

/// A running machine. Dropped, all of its processes are killed, and what was written is gone.
pub(crate) struct Machine {
    unshare: Child,
    /// systemd, as this machine numbers it.
    init: u32,
    /// Where it is mounted, in its own namespace.
    _folder: Folder,
}

impl Machine {
    /// A machine that is up; `None` where there cannot be one, which is said.
    pub(crate) fn boot() -> Option<Self> {
        let folder = Folder::new();
        let mut unshare = program("setpriv");
        unshare.args(["--pdeathsig", "KILL", "unshare", "--fork", "--kill-child=KILL"]);
        unshare.args(["--pid", "--mount", "--net", "--ipc", "--uts", "--cgroup"]);
        unshare.args(["sh", "tests/deploy/boot.sh"]).arg(folder.path());
        unshare.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut unshare = unshare.spawn().expect("setpriv is of util-linux: `make deps`");
        let said = Lines::of(unshare.stdout.take().expect("stdout is piped"));
        let wrong = Lines::of(unshare.stderr.take().expect("stderr is piped"));
        let is_booting = |line: &str| (line == "booting").then_some(());
        if said.wait_from(0, Deadline::patient(), is_booting).is_err() {
            unshare.kill().expect("it is ours");
            unshare.wait().expect("it is ours");
            println!("skipped, there can be no machine with a systemd here: {:?}", wrong.all());
            return None;
        }
        let children = format!("/proc/{0}/task/{0}/children", unshare.id());
        let children = fs::read_to_string(children).expect("the kernel lists children");
        let init = children.trim().parse().expect("one child");
        let machine = Self { unshare, init, _folder: folder };
        eventually("systemd to be up", || {
            machine.run("systemctl is-system-running").0.then_some(())
        });
        Some(machine)
    }

    /// A line of shell on it, by root: whether it ended well, and all that it said.
    pub(crate) fn run(&self, line: &str) -> (bool, String) {
        run(&mut self.command(line))
    }

    /// A line of shell on it that ends well; what it said.
    #[track_caller]
    pub(crate) fn expect(&self, line: &str) -> String {
        expect(&mut self.command(line)).trim_end().to_owned()
    }

    /// Has a file there.
    #[track_caller]
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let folder = Path::new(path).parent().expect("an absolute path").display();
        let mut command = self.command(&format!("mkdir -p {folder} && cat >{path}"));
        let mut shell = command.stdin(Stdio::piped()).spawn().expect("it runs");
        let mut input = shell.stdin.take().expect("stdin is piped");
        input.write_all(content.as_ref()).expect("it is read");
        drop(input);
        assert!(shell.wait().expect("it is ours").success(), "{path} can be written");
    }

    /// Waits until a line of shell ends well and says this.
    #[track_caller]
    pub(crate) fn eventually(&self, line: &str, says: &str) -> String {
        eventually(&format!("{says:?} of {line:?}"), || {
            let (is_good, said) = self.run(line);
            (is_good && said.contains(says)).then_some(said)
        })
    }

    fn command(&self, line: &str) -> Command {
        let mut command = program("nsenter");
        command.args(["--target", &self.init.to_string(), "--mount", "--pid", "--net", "--ipc"]);
        command.args(["--uts", "--cgroup", "--root", "--wd"]);
        command.args(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"]);
        command.args(["DEBIAN_FRONTEND=noninteractive", "timeout", COMMAND_SECONDS]);
        command.args(["sh", "-c", line]);
        command.stdin(Stdio::null());
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Its child goes with it, and with process 1 all others.
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}
