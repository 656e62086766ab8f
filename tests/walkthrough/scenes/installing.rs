//! docs/DEPLOY.md: the package, put into the system by apt, and whether it works behind nginx with the file that
//! ships, at the address that the page names.

use std::fs;
use std::path::Path;

use crate::docs;
use crate::gateway::{INTERNAL, await_listener, gateway, get, local};
use crate::process::project;
use crate::scene::{Scene, terminal};
use crate::support::{Authority, Folder};
use crate::terminal::Terminal;
use crate::world;

pub(crate) const PACKAGE: Scene = Scene {
    commands: &[(
        "docs/DEPLOY.md",
        &["make package", "apt-get install ./target", "tidegate completions", "tidegate man"],
    )],
    play: package,
};

pub(crate) const CANARY: Scene =
    Scene { commands: &[("docs/DEPLOY.md", &["tidegate canary"])], play: canary };

fn package(scene: &Scene) {
    let [make, install, completions, manual] = scene.commands();
    let mut root = Terminal::open();
    root.runs(&make.text);
    if !world::has_every_user() {
        world::skip("apt and the package's scripts make users, which takes root");
        return;
    }
    root.runs(&install.text);
    let [completion, page] = [
        "/usr/share/bash-completion/completions/tidegate",
        "/usr/share/man/man1/tidegate-canary.1",
    ]
    .map(Path::new);
    let packaged = fs::read_to_string(completion).expect("the package brings it");
    assert!(Path::new("/usr/share/man/man1/tidegate-canary.1.gz").exists());
    assert!(fs::read_to_string("/etc/passwd").expect("ours").contains("\ntidegate:"));
    // What the unit starts, as the package has installed it.
    let unit = fs::read_to_string("/usr/lib/systemd/system/tidegate.service").expect("installed");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart="));
    let mut service = Terminal::open();
    service.types(start.expect("it starts something"));
    service.shows_text("listening");
    get(INTERNAL, "/healthz");

    fs::remove_file(completion).expect("it is there");
    root.runs(&completions.text);
    assert_eq!(fs::read_to_string(completion).expect("just written"), packaged);
    root.runs(&manual.text);
    assert!(page.exists());
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
