//! The systemd unit and the sysctl file, checked by systemd's own tools and against this kernel.

use std::fs;
use std::path::Path;

use crate::process::project;
use crate::program::{expect, program, run};
use crate::support::Folder;

const UNIT: &str = "deploy/systemd/tidegate.service";
/// Tenths of systemd's measure of exposure, which goes from 0 to 10.
const EXPOSURE_MAX: u32 = 20;

fn exposure(unit: &Path) -> (bool, String) {
    let mut analyze = program("systemd-analyze");
    analyze.args(["security", "--offline=true", "--no-pager"]);
    run(analyze.arg(format!("--threshold={EXPOSURE_MAX}")).arg(unit))
}

#[test]
fn the_unit_exposes_little() {
    let (is_low, said) = exposure(&project().join(UNIT));
    println!("{}", said.lines().last().unwrap_or_default());
    assert!(is_low, "{said}");
    // And the measure tells: without the hardening it is high.
    let text = fs::read_to_string(project().join(UNIT)).expect("it ships");
    let soft: Vec<&str> = text.lines().filter(|line| !line.starts_with("SystemCall")).collect();
    let files = Folder::new();
    let soft = files.write("tidegate.service", &soft.join("\n"));
    assert!(!exposure(soft.as_ref()).0);
}

/// systemd's own units, ours and the programs it starts, in a folder of their own.
fn verify(unit: &str) -> (bool, String) {
    let files = Folder::new();
    let root = files.path();
    for folder in ["etc/systemd/system", "usr/lib/systemd", "usr/bin", "bin"] {
        fs::create_dir_all(root.join(folder)).expect("a folder of our own can be written");
    }
    let units = if Path::new("/usr/lib/systemd/system/multi-user.target").exists() {
        "/usr/lib/systemd/system"
    } else {
        "/lib/systemd/system"
    };
    expect(program("cp").args(["-r", units]).arg(root.join("usr/lib/systemd")));
    expect(program("install").args(["-m755", "/dev/null"]).arg(root.join("usr/bin/tidegate")));
    expect(program("install").args(["-m755", "/dev/null"]).arg(root.join("bin/kill")));
    fs::write(root.join("etc/systemd/system/tidegate.service"), unit).expect("as above");
    let mut analyze = program("systemd-analyze");
    analyze.args(["verify", "--man=no", "--recursive-errors=yes"]);
    run(analyze.arg(format!("--root={}", root.display())).arg("tidegate.service"))
}

#[test]
fn systemd_understands_the_unit() {
    let text = fs::read_to_string(project().join(UNIT)).expect("it ships");
    let (is_good, said) = verify(&text);
    assert!(is_good && said.is_empty(), "{said}");
    assert!(!verify(&text.replace("KillMode=mixed", "KillMode=mixd")).0);
}

#[test]
fn the_unit_stops_no_sooner_than_the_drain_ends() {
    let text = fs::read_to_string(project().join(UNIT)).expect("it ships");
    let value = text.lines().find_map(|line| line.strip_prefix("TimeoutStopSec="));
    let stop = humantime::parse_duration(value.expect("it is set")).expect("a time");
    let config = tidegate::config::Config::default();
    assert!(stop > config.server.drain.0, "{stop:?}");
}

#[test]
fn every_kernel_setting_is_known_here_and_has_its_reason() {
    let file = project().join("deploy/sysctl.d/60-tidegate.conf");
    let text = fs::read_to_string(file).expect("it ships");
    let mut settings = 0;
    for paragraph in text.split("\n\n") {
        let (reasons, lines): (Vec<&str>, Vec<&str>) =
            paragraph.lines().partition(|line| line.starts_with("# "));
        assert!(
            !reasons.is_empty() && lines.len() <= 1,
            "one setting, its reason above: {paragraph}"
        );
        let Some(line) = lines.first() else { continue };
        let (key, value) = line.split_once(" = ").expect("KEY = VALUE");
        assert!(value.split(' ').all(|part| part.parse::<u64>().is_ok()), "{line}");
        // A dash: it is there with a kernel module only.
        if !key.starts_with('-') {
            let path = Path::new("/proc/sys").join(key.replace('.', "/"));
            assert!(path.exists(), "this kernel has no {key}");
        }
        settings += 1;
    }
    assert!(settings >= 8, "{settings}");
}
