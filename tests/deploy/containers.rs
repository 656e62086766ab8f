//! The Dockerfile, the Compose demo and the Kubernetes manifests. There is no container engine here: no image
//! is built and nothing is applied. hadolint reads the first, the schemas of Compose and Kubernetes the others,
//! the gateway its configuration; and the demo's app runs.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::process::project;
use crate::program::{expect, program, run};
use crate::support::lines::Lines;
use crate::support::{Deadline, Folder, Gateway, http, run_cli};

/// The Kubernetes whose schemas count: the oldest with `preStop.sleep` on by default that is still kept.
const KUBERNETES: &str = "1.32";

#[test]
fn hadolint_has_nothing_to_say_of_the_dockerfile() {
    expect(program("hadolint").arg("deploy/Dockerfile"));
    let text = fs::read_to_string(project().join("deploy/Dockerfile")).expect("it ships");
    let files = Folder::new();
    let worse = files.write("Dockerfile", &text.replace("rust:1.95-bookworm", "rust"));
    assert!(!run(program("hadolint").arg(worse)).0, "hadolint sees an image without a version");
}

/// What the schema of Compose says of a file.
fn compose(text: &str) -> (bool, String) {
    let files = Folder::new();
    let check = "import sys; from compose_spec import PyCompose; \
                 PyCompose.from_yaml(open(sys.argv[1]).read()).validate()";
    run(program("python").args(["-c", check, &files.write("compose.yml", text)]))
}

#[test]
fn the_compose_demo_is_what_compose_understands() {
    let folder = project().join("deploy/compose");
    let text = fs::read_to_string(folder.join("docker-compose.yml")).expect("it ships");
    let (is_good, said) = compose(&text);
    assert!(is_good, "{said}");
    assert!(!compose(&text.replace("network_mode", "network_mod")).0);
    let arguments = text.lines().find_map(|line| line.trim().strip_prefix("command: [\"run\", "));
    let upstream = arguments.expect("the gateway's command").trim_end_matches(']');
    let [flag, url] = upstream.split(", ").collect::<Vec<_>>()[..] else { panic!("{upstream}") };
    let [flag, url] = [flag, url].map(|word| word.trim_matches('"'));
    assert!(run_cli(&["config", "--effective", flag, url]).status.success());
}

#[test]
fn the_demos_app_shows_events_through_the_gateway() {
    let app = crate::support::free_address();
    let gateway = Gateway::builder().arg("--upstream").arg(&format!("http://{app}")).start();
    let mut node = program("node");
    node.arg("deploy/compose/app/server.mjs").env("PORT", app.port().to_string());
    node.env("TIDEGATE", format!("http://{}", gateway.internal));
    let node = node.stdout(Stdio::piped()).spawn().expect("node is installed: run `make deps`");
    let mut node = Ended(node);
    let said = Lines::of(node.0.stdout.take().expect("stdout is piped"));
    let listening =
        said.wait_from(0, Deadline::patient(), |line| line.starts_with("listening").then_some(()));
    listening.expect("the app listens");
    let page = http("GET", gateway.public, "/", &[], b"").expect_status(200);
    let page = page.text().to_owned();
    let target = page.split("EventSource('").nth(1).and_then(|rest| rest.split('\'').next());
    let target = target.expect("the page opens a stream");
    let mut stream = gateway.subscriber("").target(target).open();
    stream.expect_hello();
    let tick = stream.expect_event();
    assert_eq!(tick.event, "tick");
    let data: Value = serde_json::from_str(&tick.data).expect("JSON");
    assert!(data["time"].is_string(), "{data}");
}

/// A process that ends with the test, also when that fails.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended already: then both calls do nothing.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a folder of manifests makes, checked by the schemas of Kubernetes.
#[track_caller]
fn manifests(folder: &str) -> String {
    let built =
        expect(program("kubectl").args(["kustomize", &format!("deploy/kubernetes/{folder}")]));
    let files = Folder::new();
    let built_file = files.write("built.yaml", &built);
    let validate =
        |file: &str| run(program("kubernetes-validate").args(["--strict", "-k", KUBERNETES, file]));
    let (is_good, said) = validate(&built_file);
    assert!(is_good, "{folder}: {said}");
    let worse = files.write("worse.yaml", &built.replace("minAvailable: 1", "minAvailabel: 1"));
    assert!(!validate(&worse).0, "an unknown field is seen");
    built
}

#[test]
fn kubernetes_understands_the_base_and_each_overlay() {
    let base = manifests("base");
    assert!(base.contains("terminationGracePeriodSeconds: 60"));
    assert!(!base.contains("HorizontalPodAutoscaler"));
    let autoscaled = manifests("overlays/autoscaled");
    assert!(autoscaled.contains("name: tidegate_subscribers"));
    assert!(!autoscaled.contains("replicas:"), "the autoscaler says how many");
    assert!(manifests("overlays/sidecar").contains("TIDEGATE__PROXY__UPSTREAM"));
}

#[test]
fn a_pod_has_time_for_the_drain() {
    let built = expect(program("kubectl").args(["kustomize", "deploy/kubernetes/base"]));
    let seconds = |key: &str| {
        let value = built.lines().find_map(|line| line.trim().strip_prefix(key));
        let value = value.unwrap_or_else(|| panic!("no {key} in {built}"));
        Duration::from_secs(value.trim().parse().expect("seconds"))
    };
    let config = config(Path::new("deploy/kubernetes/base/tidegate.toml"));
    let drain = config.server.drain.0;
    let [grace, wait] = ["terminationGracePeriodSeconds:", "seconds:"].map(seconds);
    assert!(grace > wait + drain, "{grace:?} for {wait:?} and {drain:?}");
}

#[test]
fn probes_and_prometheus_reach_a_pod_and_nobody_else_publishes() {
    // The one behind stands for the same one's internal listener, whose port is not known beforehand.
    let behind = Gateway::start();
    let text = fs::read_to_string(project().join("deploy/kubernetes/base/tidegate.toml"));
    let text = text.expect("it ships").replace("127.0.0.1:8081", &behind.internal.to_string());
    let gateway = Gateway::builder().config(&text).start();
    for path in ["/healthz", "/readyz", "/metrics"] {
        http("GET", gateway.public, path, &[], b"").expect_status(200);
        http("POST", gateway.public, path, &[], b"").expect_status(404);
    }
    for path in ["/publish", "/topics/t", "/sources"] {
        http("POST", gateway.public, path, &[], b"x").expect_status(404);
    }
}

fn config(file: &Path) -> tidegate::config::Config {
    let file = Some(project().join(file));
    let overrides = tidegate::config::Overrides { file, ..Default::default() };
    tidegate::config::load(&overrides).expect("it is right").config
}
