//! A terminal: a shell that is typed into, and what it shows. Several commands in a row share its variables.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::process::project;
use crate::support::lines::Lines;
use crate::support::{Deadline, pause};

/// How long a command may take that ends by itself; making the package takes half a minute on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Said by the shell behind each command, with the command's status.
const PROMPT: &str = "=== ended with ";

/// A shell in the checkout.
pub(crate) struct Terminal {
    shell: Child,
    input: ChildStdin,
    output: Lines,
    errors: Lines,
    /// Lines of each that belong to earlier commands.
    seen: (usize, usize),
    typed: String,
}

impl Terminal {
    pub(crate) fn open() -> Self {
        let mut shell = Command::new("sh");
        shell.current_dir(project()).process_group(0);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut shell = shell.spawn().expect("every system has sh");
        let mut input = shell.stdin.take().expect("stdin is piped");
        // What interrupts a command leaves the shell there, as in a terminal.
        writeln!(input, "trap : INT").expect("the shell reads");
        let output = Lines::of(shell.stdout.take().expect("stdout is piped"));
        let errors = Lines::of(shell.stderr.take().expect("stderr is piped"));
        Self { shell, input, output, errors, seen: (0, 0), typed: String::new() }
    }

    /// Types a command and does not wait for its end.
    #[track_caller]
    pub(crate) fn types(&mut self, command: &str) {
        self.seen = (self.output.count(), self.errors.count());
        command.clone_into(&mut self.typed);
        println!("$ {command}");
        // Its input is not the one that the shell is typed into.
        let told = format!(
            "{{\n{command}\n}} </dev/null\nstatus=$?\n\
             printf '\\n{PROMPT}%s\\n' $status\nprintf '\\n{PROMPT}%s\\n' $status >&2\n"
        );
        self.input.write_all(told.as_bytes()).expect("the shell reads");
    }

    /// Waits for the command's end; its status and what it has printed, errors last.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> (u8, String) {
        let deadline = Deadline::after(PATIENCE);
        let ended = |line: &str| line.strip_prefix(PROMPT).map(str::parse::<u8>);
        let status = self.output.wait_from(self.seen.0, deadline, ended);
        let both = status.and_then(|status| {
            self.errors.wait_from(self.seen.1, deadline, |line| ended(line).map(|_| status.clone()))
        });
        match both {
            Ok(status) => (status.expect("a status is a number"), self.shown()),
            Err(why) => panic!("`{}` did not end: {why}\n{}", self.typed, self.shown()),
        }
    }

    /// Runs a command that must succeed; gives what it has printed.
    #[track_caller]
    pub(crate) fn runs(&mut self, command: &str) -> String {
        self.types(command);
        let (status, shown) = self.ends();
        assert_eq!(status, 0, "`{command}`:\n{shown}");
        shown
    }

    /// Waits for a line of the running command, on either output, and gives the answer of `pick`.
    #[track_caller]
    pub(crate) fn shows<T>(&self, what: &str, pick: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Deadline::patient();
        loop {
            let lines = self.lines();
            if let Some(answer) = lines.iter().find_map(|line| pick(line)) {
                return answer;
            }
            let has_ended = lines.iter().any(|line| line.starts_with(PROMPT));
            let is_in_vain = has_ended || deadline.left().is_none();
            assert!(!is_in_vain, "waited for {what}:\n{}", self.shown());
            pause(Duration::from_millis(10));
        }
    }

    /// Waits until the running command prints this somewhere in a line.
    #[track_caller]
    pub(crate) fn shows_text(&self, text: &str) {
        self.shows(&format!("{text:?} of `{}`", self.typed), |line| {
            line.contains(text).then_some(())
        });
    }

    /// Presses Ctrl-C; gives the command's status and what it has printed.
    #[track_caller]
    pub(crate) fn interrupts(&mut self) -> (u8, String) {
        kill_process_group(self.pid(), Signal::INT).expect("the shell is there");
        self.ends()
    }

    /// Ends what the running command has started at once, as a power cut would.
    #[track_caller]
    pub(crate) fn kills(&mut self) -> (u8, String) {
        let shell = self.shell.id();
        let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"));
        for child in children.expect("the shell is there").split_whitespace() {
            let pid = child.parse().ok().and_then(Pid::from_raw).expect("a process");
            kill_process(pid, Signal::KILL).expect("it runs");
        }
        self.ends()
    }

    /// What the last command has printed so far.
    pub(crate) fn shown(&self) -> String {
        let lines = self.lines();
        let lines = lines.iter().filter(|line| !line.starts_with(PROMPT));
        lines.map(|line| format!("{line}\n")).collect()
    }

    fn lines(&self) -> Vec<String> {
        let (output, errors) = self.seen;
        [self.output.all().split_off(output), self.errors.all().split_off(errors)].concat()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.shell)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- `{}` shows\n{}---", self.typed, self.shown());
        }
        // What it has started ends with the scene's world.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
