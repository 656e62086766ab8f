//! nginx, HAProxy and Caddy with the configuration that ships, as child processes in front of a gateway.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::edge::App;
use crate::process::project;
use crate::support::lines::Lines;
use crate::support::{Authority, Folder, Gateway, eventually, free_address};

/// Where clients connect from: another address than the balancer's, so that the two can be told apart.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// A balancer, the gateway behind it, and the app behind that.
pub(crate) struct Balancer {
    pub(crate) name: &'static str,
    pub(crate) gateway: Gateway,
    pub(crate) app: App,
    /// Where clients find it all, without a slash at the end.
    pub(crate) url: String,
    /// The authority of its certificate.
    pub(crate) ca: PathBuf,
    child: Child,
    log: Lines,
    _files: Folder,
}

impl Balancer {
    pub(crate) fn nginx() -> Self {
        let (app, gateway) = trusting_gateway();
        let (files, address) = (Folder::new(), free_address());
        let Certificate { chain, key, ca } = Certificate::new(&files);
        let snippet = shipped(
            "nginx/tidegate.conf",
            &[
                ("listen 443 ", &format!("listen {address} ")),
                ("app.example.com", "localhost"),
                ("127.0.0.1:8080", &gateway.public.to_string()),
                ("/etc/tidegate/tls/fullchain.pem", &chain),
                ("/etc/tidegate/tls/privkey.pem", &key),
            ],
        );
        let snippet = files.write("tidegate.conf", &snippet);
        let dir = files.path().display();
        let config = format!(
            "daemon off; master_process off; pid {dir}/pid; error_log stderr;
             events {{ worker_connections 512; }}
             http {{
               access_log off;
               client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
               fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
               include {snippet};
             }}"
        );
        let mut command = Command::new("/usr/sbin/nginx");
        command.args(["-e", "stderr", "-c", &files.write("nginx.conf", &config)]);
        Self::start("nginx", command, address, ca, files, (app, gateway))
    }

    pub(crate) fn haproxy() -> Self {
        let behind = trusting_gateway();
        let (files, address) = (Folder::new(), free_address());
        let Certificate { chain, key, ca } = Certificate::new(&files);
        let both = [chain, key].map(|file| fs::read_to_string(file).expect("just written"));
        let config = shipped(
            "haproxy/tidegate.cfg",
            &[
                ("bind :443 ", &format!("bind {address} ")),
                ("127.0.0.1:8080", &behind.1.public.to_string()),
                ("/etc/tidegate/tls/site.pem", &files.write("site.pem", &both.concat())),
            ],
        );
        let mut command = Command::new("/usr/sbin/haproxy");
        command.args(["-db", "-f", &files.write("haproxy.cfg", &config)]);
        Self::start("haproxy", command, address, ca, files, behind)
    }

    pub(crate) fn haproxy_passthrough() -> Self {
        let (app, files, address) = (App::start("python"), Folder::new(), free_address());
        let Certificate { chain, key, ca } = Certificate::new(&files);
        let gateway = Gateway::builder()
            .config(&format!(
                "[server]\nproxy_protocol = true\n[proxy]\ntrusted = ['127.0.0.1']\nupstream = '{}'\n\
                 [tls]\nlisten = '127.0.0.1:0'\ncertificates = [{{ chain = {chain:?}, key = {key:?} }}]\n",
                app.url
            ))
            .start();
        let sealed = gateway.tls.expect("the gateway listens over TLS").to_string();
        let config = shipped(
            "haproxy/tidegate-passthrough.cfg",
            &[
                ("bind :443", &format!("bind {address}")),
                ("gateway 127.0.0.1:8443", &format!("gateway {sealed}")),
            ],
        );
        let mut command = Command::new("/usr/sbin/haproxy");
        command.args(["-db", "-f", &files.write("haproxy.cfg", &config)]);
        Self::start("haproxy, bytes only", command, address, ca, files, (app, gateway))
    }

    /// Caddy makes the certificate itself, as it does by ACME where there is a network.
    pub(crate) fn caddy() -> Self {
        let behind = trusting_gateway();
        let (files, address) = (Folder::new(), free_address());
        let site = shipped(
            "caddy/Caddyfile",
            &[("app.example.com", "localhost"), ("127.0.0.1:8080", &behind.1.public.to_string())],
        );
        let options = format!(
            "{{\nadmin off\nlocal_certs\nskip_install_trust\nauto_https disable_redirects\n\
             default_bind 127.0.0.1\nhttps_port {}\n}}\n",
            address.port()
        );
        let mut command = Command::new("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config"]);
        command.arg(files.write("Caddyfile", &(options + &site)));
        command.env("XDG_DATA_HOME", files.path()).env("XDG_CONFIG_HOME", files.path());
        let ca = files.path().join("caddy/pki/authorities/local/root.crt");
        Self::start("caddy", command, address, ca, files, behind)
    }

    fn start(
        name: &'static str,
        mut command: Command,
        address: SocketAddr,
        ca: PathBuf,
        files: Folder,
        (app, gateway): (App, Gateway),
    ) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}; `make deps` installs it"));
        let url = format!("https://localhost:{}", address.port());
        let log = Lines::of(child.stderr.take().expect("stderr is piped"));
        let balancer = Self { name, gateway, app, url, ca, child, log, _files: files };
        eventually(&format!("{name} to listen"), || {
            TcpStream::connect(address).ok().filter(|_| balancer.ca.exists())
        });
        balancer
    }

    /// curl, from [`CLIENT`], about to ask for this path.
    pub(crate) fn curl(&self, path: &str) -> Command {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--no-buffer", "--ipv4", "--noproxy", "*"]);
        command.args(["--max-time", "60", "--interface", &CLIENT.to_string()]);
        command.arg("--cacert").arg(&self.ca).arg(format!("{}{path}", self.url));
        command.stdin(Stdio::null());
        command
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // It may have ended already: then both calls do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {} said\n{}\n---", self.name, self.log.all().join("\n"));
        }
    }
}

/// An app, and a gateway before it that believes what balancers say.
fn trusting_gateway() -> (App, Gateway) {
    let app = App::start("python");
    let config = format!("[proxy]\ntrusted = ['127.0.0.1']\nupstream = '{}'\n", app.url);
    let gateway = Gateway::builder().config(&config).start();
    (app, gateway)
}

struct Certificate {
    chain: String,
    key: String,
    ca: PathBuf,
}

impl Certificate {
    fn new(files: &Folder) -> Self {
        let authority = Authority::new();
        let (chain, key) = authority.issue(files, "localhost");
        Self { chain, key, ca: files.write("ca.pem", &authority.pem()).into() }
    }
}

/// A file of `deploy/`, each of these texts in it replaced.
fn shipped(file: &str, replaced: &[(&str, &str)]) -> String {
    let path = project().join("deploy").join(file);
    let mut text = fs::read_to_string(&path).expect("the file ships");
    for (old, new) in replaced {
        assert!(text.contains(old), "{file} says nothing of {old:?}");
        text = text.replace(old, new);
    }
    text
}
