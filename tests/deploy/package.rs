//! The Debian package: built of the binary under test, installed into a folder by dpkg, with its scripts, and
//! run from there with the configuration that it brings.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::program::{expect, program};
use crate::support::{Folder, Gateway, http};

/// dpkg, for a system in this folder. Its own files are all that it has: libc is not among them.
fn dpkg(root: &Path) -> Command {
    let mut dpkg = program("dpkg");
    dpkg.arg(format!("--root={}", root.display()));
    dpkg.args(["--force-not-root", "--force-script-chrootless", "--force-depends"]);
    dpkg
}

/// Builds the package into a folder; its path.
#[track_caller]
pub(crate) fn package(into: &Folder) -> String {
    // The pages that go into it lie in one place.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let binary = Path::new(env!("CARGO_BIN_EXE_tidegate"));
    let built = binary.parent().expect("a binary lies in its profile's folder");
    let profile = built.file_name().expect("a name");
    let cargo_deb = program("cargo-deb").get_program().to_owned();
    let mut make = program("sh");
    make.arg("scripts/package.sh").arg(cargo_deb).arg(profile).arg(into.path());
    make.env("CARGO_TARGET_DIR", built.parent().expect("the target folder"));
    expect(&mut make);
    let mut files = fs::read_dir(into.path()).expect("a folder").filter_map(Result::ok);
    let file = files.find(|entry| entry.path().extension().is_some_and(|end| end == "deb"));
    file.expect("a package").path().to_str().expect("UTF-8").to_owned()
}

#[test]
fn the_package_installs_runs_and_goes_without_a_trace() {
    let (files, system) = (Folder::new(), Folder::new());
    let package = package(&files);
    let fields = expect(program("dpkg-deb").args(["--field", &package]));
    for field in ["Depends: libc6", "systemd | systemd-standalone-sysusers", "Section: httpd"] {
        assert!(fields.contains(field), "{fields}");
    }
    let root = system.path();
    for folder in ["var/lib/dpkg/updates", "var/lib/dpkg/info", "etc"] {
        fs::create_dir_all(root.join(folder)).expect("a folder of our own can be written");
    }
    fs::write(root.join("var/lib/dpkg/status"), "").expect("as above");
    expect(dpkg(root).args(["-i", &package]));

    let users = fs::read_to_string(root.join("etc/passwd")).expect("the package makes a user");
    assert!(users.lines().any(|line| line.starts_with("tidegate:")), "{users}");
    let unit = "usr/lib/systemd/system/tidegate.service";
    for file in [
        unit,
        "usr/share/man/man1/tidegate-canary.1.gz",
        "usr/share/bash-completion/completions/tidegate",
        "usr/share/doc/tidegate/examples/60-tidegate.conf",
        "usr/share/doc/tidegate/copyright",
    ] {
        assert!(root.join(file).exists(), "{file}");
    }
    let enabled = root.join("etc/systemd/system/multi-user.target.wants/tidegate.service");
    assert!(enabled.symlink_metadata().is_ok(), "the service starts with the machine");

    // What the unit says that it starts, where it is installed.
    let unit = fs::read_to_string(root.join(unit)).expect("it is installed");
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
    let [binary, "run", "--config", config] = line.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{line}");
    };
    let [binary, config] = [binary, config].map(|path| root.join(path.trim_start_matches('/')));
    let gateway = Gateway::builder()
        .binary(&binary)
        .arg("--config")
        .arg(config.to_str().expect("UTF-8"))
        .start();
    http("GET", gateway.internal, "/healthz", &[], b"").expect_status(200);
    drop(gateway);

    // What an operator has changed stays until the package is purged.
    fs::write(&config, "[stream]\nheartbeat = '5s'\n").expect("as above");
    expect(dpkg(root).args(["--remove", "tidegate"]));
    assert!(config.exists() && !binary.exists());
    fs::create_dir_all(root.join("var/lib/tidegate")).expect("as above");
    expect(dpkg(root).args(["--purge", "tidegate"]));
    assert!(!config.exists() && !root.join("var/lib/tidegate").exists());
}
