//! The package on a machine with a systemd: installed by apt, started as the unit says, with all that the unit
//! takes from it, reloaded, hung, misconfigured, stopped, purged.

use std::sync::OnceLock;

use crate::machine::Machine;
use crate::package::package;
use crate::support::Folder;

/// A machine with the package on it, as docs/DEPLOY.md installs it.
fn installed() -> Option<Machine> {
    let machine = Machine::boot()?;
    static PACKAGE: OnceLock<Vec<u8>> = OnceLock::new();
    let bytes = PACKAGE.get_or_init(|| {
        let files = Folder::new();
        std::fs::read(package(&files)).expect("it is built")
    });
    machine.write("/root/target/package/tidegate_0_amd64.deb", bytes);
    machine.expect("cd && apt-get install -y ./target/package/tidegate_*.deb");
    Some(machine)
}

const CONFIG: &str = "/etc/tidegate/tidegate.toml";

/// What systemd knows of the service.
fn property(machine: &Machine, name: &str) -> String {
    machine.expect(&format!("systemctl show --property={name} --value tidegate"))
}

/// A browser: its stream goes into a file.
fn subscribe(machine: &Machine, query: &str, file: &str) {
    machine.expect(&format!("curl -sN 'localhost:8080/events?{query}' >{file} 2>&1 &"));
    machine.eventually(&format!("cat {file}"), "event: hello");
}

fn publish(machine: &Machine, text: &str) {
    machine.expect(&format!("curl -sSf -d {text} localhost:8081/topics/t"));
}

#[test]
fn apt_installs_a_service_that_starts_reloads_and_drains() {
    let Some(machine) = installed() else { return };
    assert_eq!(machine.expect("systemctl is-enabled tidegate"), "enabled");
    assert_eq!(machine.expect("systemctl is-active tidegate"), "active");
    assert_eq!(property(&machine, "StatusText"), "serving at 0.0.0.0:8080");
    let pid = property(&machine, "MainPID");
    let user = machine.expect(&format!("stat --format=%U /proc/{pid}"));
    assert_eq!(user, "tidegate");
    machine.expect("tidegate canary");

    subscribe(&machine, "topic=t", "/root/stream");
    machine.write(CONFIG, "[stream]\nheartbeat = '3s'");
    machine.expect("systemctl reload tidegate");
    let journal = "journalctl -u tidegate --no-pager";
    machine.eventually(journal, "a key of the configuration has changed key=\"stream.heartbeat\"");
    machine.eventually("systemctl show --property=StatusText tidegate", "serving at");
    publish(&machine, "after-the-reload");
    machine.eventually("cat /root/stream", "data: after-the-reload");
    assert_eq!(property(&machine, "MainPID"), pid);

    machine.expect("systemctl stop tidegate");
    machine.eventually("cat /root/stream", "event: end");
    assert_eq!(property(&machine, "Result"), "success");
    assert_eq!(property(&machine, "ExecMainStatus"), "0");

    machine.expect("apt-get purge -y tidegate");
    machine.expect("test ! -e /etc/tidegate -a ! -e /usr/bin/tidegate -a ! -e /var/lib/tidegate");
}

#[test]
fn the_log_of_events_is_kept_with_all_that_the_unit_takes_from_it() {
    let Some(machine) = installed() else { return };
    machine.write(
        CONFIG,
        "[history]\nstore = 'disk'\npath = '/var/lib/tidegate/events'\nfsync = 'always'",
    );
    machine.expect("systemctl restart tidegate");
    subscribe(&machine, "topic=t", "/root/before");
    let cursor = machine.expect("sed -n 's/^id: //p' /root/before");
    for text in ["one", "two"] {
        publish(&machine, text);
    }
    machine.expect("systemctl kill --signal=KILL tidegate");
    machine.eventually("systemctl show --property=NRestarts tidegate", "NRestarts=1");
    machine.eventually("curl -sf localhost:8081/readyz", "ready");
    subscribe(&machine, &format!("topic=t&last_event_id={cursor}"), "/root/stream");
    let stream = machine.eventually("cat /root/stream", "data: two");
    assert!(stream.contains("data: one") && !stream.contains("event: gap"), "{stream}");
    let owner = machine.expect("stat --format='%U %a' /var/lib/tidegate");
    assert_eq!(owner, "tidegate 750");
}

#[test]
fn a_gateway_that_hangs_is_started_again() {
    let Some(machine) = installed() else { return };
    let impatient = "[Service]\nWatchdogSec=2s";
    machine.write("/etc/systemd/system/tidegate.service.d/impatient.conf", impatient);
    machine.expect("systemctl daemon-reload && systemctl restart tidegate");
    let pid = property(&machine, "MainPID");
    machine.expect(&format!("kill -STOP {pid}"));
    machine.eventually("systemctl show --property=NRestarts tidegate", "NRestarts=1");
    machine.eventually("systemctl is-active tidegate", "active");
    assert_ne!(property(&machine, "MainPID"), pid);
    machine.expect("tidegate canary");
    machine.eventually("journalctl -u tidegate --no-pager", "Watchdog timeout");
}

#[test]
fn a_wrong_configuration_is_in_the_journal_and_stops_nothing_that_runs() {
    let Some(machine) = installed() else { return };
    machine.write(CONFIG, "[stream]\nhartbeat = '3s'");
    machine.expect("systemctl reload tidegate");
    let journal = "journalctl -u tidegate --no-pager";
    machine.eventually(journal, "the configuration stays as it was");
    // By its priority, and without a clock beside the journal's.
    let wrong = machine.expect("journalctl -u tidegate --priority=err --output=cat");
    assert!(wrong.starts_with("ERROR the configuration stays as it was"), "{wrong}");
    assert!(!wrong.contains("INFO"), "{wrong}");
    machine.expect("tidegate canary");
    let (is_restarted, _) = machine.run("systemctl restart tidegate");
    assert!(!is_restarted);
    let said = machine.expect(journal);
    assert!(said.contains("tidegate.toml:2:1"), "{said}");
    assert!(said.contains("heartbeat"), "what was probably meant: {said}");
}
