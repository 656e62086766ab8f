//! docs/DEPLOY.md: the package and its service, on a machine with a systemd; and whether the gateway works behind
//! nginx with the file that ships, at the address that the page names.

use std::fs;

use crate::docs;
use crate::gateway::{await_listener, gateway, local};
use crate::machine::Machine;
use crate::process::project;
use crate::scene::{Scene, terminal};
use crate::support::{Authority, Folder};
use crate::terminal::Terminal;
use crate::world;

pub(crate) const PACKAGE: Scene = Scene {
    commands: &[(
        "docs/DEPLOY.md",
        &[
            "make package",
            "apt-get install ./target",
            "systemctl enable --now",
            "systemctl reload",
            "journalctl -u",
            "tidegate completions",
            "tidegate man",
        ],
    )],
    play: package,
};

pub(crate) const CANARY: Scene =
    Scene { commands: &[("docs/DEPLOY.md", &["tidegate canary"])], play: canary };

fn package(scene: &Scene) {
    let [make, install, enable, reload, journal, completions, manual] = scene.commands();
    Terminal::open().runs(&make.text);
    let folder = project().join("target/package");
    let mut files = fs::read_dir(folder).expect("a folder").filter_map(Result::ok);
    let package = files.find(|file| file.path().extension().is_some_and(|end| end == "deb"));
    let package = package.expect("a package");
    let Some(machine) = Machine::boot() else {
        return world::skip("the service's commands want a machine with a systemd");
    };
    // Root's home is the folder that the reader is in.
    let name = package.file_name().into_string().expect("UTF-8");
    let bytes = fs::read(package.path()).expect("it can be read");
    machine.write(&format!("/root/target/package/{name}"), bytes);
    machine.expect(&format!("cd && {}", install.text));
    // The package has started it already.
    machine.expect("systemctl disable --now tidegate");
    for service in [enable, reload] {
        machine.expect(&service.text);
        assert_eq!(machine.expect("systemctl is-active tidegate"), "active", "{service:?}");
    }
    machine.eventually(&journal.text, "reloaded");
    machine.expect("curl --silent --show-error --fail localhost:8081/healthz");

    let completion = "/usr/share/bash-completion/completions/tidegate";
    let packaged = machine.expect(&format!("cat {completion} && rm {completion}"));
    machine.expect(&completions.text);
    assert_eq!(machine.expect(&format!("cat {completion}")), packaged);
    let page = "/usr/share/man/man1/tidegate-canary.1";
    machine.expect(&format!("test -e {page}.gz && ! test -e {page}"));
    machine.expect(&manual.text);
    machine.expect(&format!("test -e {page}"));
}

fn canary(scene: &Scene) {
    let [fly] = scene.commands();
    let (files, authority) = (Folder::new(), Authority::new());
    let (chain, key) = authority.issue(&files, "app.example.com");
    fs::create_dir_all("/etc/tidegate/tls").expect("ours");
    fs::copy(chain, "/etc/tidegate/tls/fullchain.pem").expect("ours");
    fs::copy(key, "/etc/tidegate/tls/privkey.pem").expect("ours");
    let ca = files.write("ca.pem", &authority.pem());
    let hosts = fs::read_to_string("/etc/hosts").expect("there are hosts");
    fs::write("/etc/hosts", hosts + "\n127.0.0.1 app.example.com\n").expect("ours");

    let _gateway = gateway("tidegate --set 'proxy.trusted=[\"127.0.0.1\"]'");
    let shipped = project().join("deploy/nginx/tidegate.conf");
    let config = format!(
        "daemon off; master_process off; pid /run/walkthrough-nginx.pid; error_log stderr;
         events {{ }} http {{ access_log off; include {}; }}",
        shipped.display()
    );
    let mut nginx = Terminal::open();
    nginx.types(&format!("/usr/sbin/nginx -e stderr -c {}", files.write("nginx.conf", &config)));
    await_listener(local(443));

    let mut terminal = terminal();
    // Where the system's authorities are, of which ours is none.
    terminal.runs(&format!("export SSL_CERT_FILE={ca}"));
    let said = terminal.runs(&fly.text);
    // Times and ids differ.
    let words = |text: &str| -> Vec<String> {
        let words =
            text.split_whitespace().filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
        words.map(str::to_owned).collect()
    };
    assert_eq!(words(&said), words(&docs::answer(&fly, "")), "{said}");
}
