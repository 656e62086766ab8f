//! What the pages tell their readers to type is typed here, as it is written, and does what they say. A command
//! that is in no scene fails `every_command_is_run_or_excused`, as does a scene or an excuse whose command is gone.

mod support;

#[path = "clients/process.rs"]
#[allow(dead_code, reason = "`tests/clients.rs` uses the rest")]
mod process;

#[path = "deploy/machine.rs"]
mod machine;
#[path = "deploy/program.rs"]
mod program;

#[path = "walkthrough/accounts.rs"]
mod accounts;
#[path = "walkthrough/docs.rs"]
mod docs;
#[path = "walkthrough/gateway.rs"]
mod gateway;
#[path = "walkthrough/scene.rs"]
mod scene;
#[path = "walkthrough/terminal.rs"]
mod terminal;
#[path = "walkthrough/world.rs"]
mod world;

#[path = "walkthrough/scenes/apps.rs"]
mod apps;
#[path = "walkthrough/scenes/configuration.rs"]
mod configuration;
#[path = "walkthrough/scenes/debugging.rs"]
mod debugging;
#[path = "walkthrough/scenes/durability.rs"]
mod durability;
#[path = "walkthrough/scenes/installing.rs"]
mod installing;
#[path = "walkthrough/scenes/load.rs"]
mod load;
#[path = "walkthrough/scenes/newcomer.rs"]
mod newcomer;
#[path = "walkthrough/scenes/other_load.rs"]
mod other_load;
#[path = "walkthrough/scenes/proxying.rs"]
mod proxying;
#[path = "walkthrough/scenes/sizing.rs"]
mod sizing;

use scene::{NotRun, Scene};

/// Each scene is a test of its name, which plays it in a world of its own.
macro_rules! scenes {
    ($($name:ident: $scene:path,)*) => {
        const SCENES: &[(&str, &Scene)] = &[$((stringify!($name), &$scene)),*];
        $(
            #[test]
            fn $name() {
                if world::is_inside() {
                    ($scene.play)(&$scene);
                } else {
                    world::run(stringify!($name));
                }
            }
        )*
    };
}

scenes! {
    a_newcomer_gets_to_a_dashboards_data: newcomer::SCENE,
    an_operator_keeps_events_on_disk: durability::SCENE,
    an_operator_changes_the_configuration: configuration::SCENE,
    an_operator_puts_it_in_front_of_an_app: proxying::SCENE,
    an_operator_asks_the_internal_api: debugging::SCENE,
    an_operator_calculates_what_a_load_takes: sizing::SCENE,
    an_operator_installs_the_service: installing::PACKAGE,
    an_operator_sees_whether_it_works_behind_nginx: installing::CANARY,
    a_developer_runs_the_apps_by_hand: apps::SCENE,
    a_tester_measures_by_hand: load::BY_HAND,
    a_tester_runs_each_kind_of_load: load::KINDS,
    a_tester_takes_other_tools: other_load::SCENE,
}

/// The commands that are in no scene, and why.
const NOT_RUN: &[NotRun] = &[
    NotRun { commands: &[("README.md", &["make test"])], why: "it is what runs this" },
    NotRun {
        commands: &[
            ("README.md", &["make bench", "make bench ARGS=--proxy"]),
            (
                "benches/README.md",
                &[
                    "make bench-micro",
                    "make bench-micro A=ring",
                    "make bench-instructions",
                    "make bench-instructions A=--bless",
                    "callgrind_annotate ",
                ],
            ),
        ],
        why: "measurements: 7 to 30 minutes each, of a release with fat LTO; clippy compiles all of it",
    },
    NotRun {
        commands: &[("docs/DEPLOY.md", &["rustup target add", "CC_x86_64_unknown_linux_musl="])],
        why: "rustup needs a network, and the build minutes",
    },
    NotRun {
        commands: &[("docs/DEPLOY.md", &["docker build", "docker run", "docker compose"])],
        why: "no container engine: tests/deploy/containers.rs lints and validates the files, and runs the app",
    },
    NotRun {
        commands: &[("docs/DEPLOY.md", &["cp /usr/share/doc/tidegate/examples/60-tidegate.conf"])],
        why: "these settings are the whole host's: tests/deploy/host.rs looks for them in this kernel",
    },
    NotRun {
        commands: &[("docs/DEPLOY.md", &["kubectl apply"])],
        why: "no cluster: tests/deploy/containers.rs builds what it would be given, by kubectl",
    },
    NotRun {
        commands: &[(
            "fuzz/README.md",
            &["cargo install", "target=guard", "mkdir -p", "RUSTC_BOOTSTRAP=1 cargo fuzz"],
        )],
        why: "cargo-fuzz takes minutes to build, and so do the targets with their sanitizer",
    },
];
