//! Request smuggling takes two parties that disagree about where a request ends. Here a corpus of odd
//! requests (`differential/corpus`) goes through the gateway to six servers, and straight to them:
//! straight, they disagree; behind the gateway, no two parties may.
//!
//! ```text
//! client ─► case + marker ─► gateway ─► nginx, haproxy, hyper, h11, http.server, Node: what each got
//!               │               └─────► an origin that takes nothing but the strictest reading
//!               └─► the strictest reading of what was sent
//! ```
//!
//! Every case has a marker request behind it on its connection: who takes it for a part of a body, or a
//! part of a body for a request, is found out. A third request on a connection of its own shows whether
//! anybody else is answered for what was sent.
//!
//! `BLESS=1 cargo test --test differential` writes `docs/SMUGGLING.md` anew.

mod support;

#[path = "differential/backends.rs"]
mod backends;
#[path = "differential/conversation.rs"]
mod conversation;
#[path = "differential/corpus.rs"]
mod corpus;
#[path = "differential/hyper_server.rs"]
mod hyper_server;
#[path = "differential/log.rs"]
mod log;
#[path = "differential/origin.rs"]
mod origin;
#[path = "differential/page.rs"]
mod page;
#[path = "differential/strict.rs"]
mod strict;
#[path = "differential/verdict.rs"]
mod verdict;

use std::thread;

use conversation::{Outcome, Party, Step, strictly};
use corpus::{Case, corpus};
use origin::Origin;
use support::Gateway;
use verdict::disagreement;

/// What became of the corpus with one server, case by case.
struct Run {
    name: &'static str,
    direct: Vec<Outcome>,
    through: Vec<Outcome>,
}

#[test]
fn f19_f20_f21_f22_f23_f24_f25_f26_f29_no_two_parties_disagree_where_a_request_ends() {
    let corpus = corpus();
    let origin = Origin::start();
    let recorder = Party { address: origin.address, log: origin.log.clone() };
    let backends = backends::start_all();
    let (recorded, runs) = thread::scope(|scope| {
        let corpus = &corpus;
        let recording = scope.spawn(|| through_a_gateway(&recorder, corpus));
        let running = backends.iter().map(|backend| {
            scope.spawn(|| Run {
                name: backend.name,
                direct: hear_all(&backend.party, corpus),
                through: through_a_gateway(&backend.party, corpus),
            })
        });
        let running: Vec<_> = running.collect();
        let runs: Vec<Run> = running.into_iter().map(|run| run.join().expect("a run")).collect();
        (recording.join().expect("a run"), runs)
    });
    let faults: Vec<String> = (0..corpus.len())
        .flat_map(|number| faults(number, &corpus[number], &recorded[number], &runs))
        .collect();
    assert!(faults.is_empty(), "{} disagreements:\n{}", faults.len(), faults.join("\n"));
    page::check(&corpus, &recorded, &runs);
}

fn hear_all(party: &Party, corpus: &[Case]) -> Vec<Outcome> {
    corpus.iter().enumerate().map(|(number, case)| party.hear(number, case)).collect()
}

/// One server behind a gateway of its own. It is never left out, whatever it answers.
fn through_a_gateway(server: &Party, corpus: &[Case]) -> Vec<Outcome> {
    let gateway = Gateway::builder().arg("--shards=1").config(&format!(
        "[[proxy.upstreams]]\nname = 'app'\nservers = ['http://{}']\nfailures_max = 1000000\n\
         [[proxy.routes]]\nupstream = 'app'\n",
        server.address
    ));
    let gateway = gateway.start();
    hear_all(&Party { address: gateway.public, log: server.log.clone() }, corpus)
}

/// What the parties disagree about behind the gateway.
fn faults(number: usize, case: &Case, recorded: &Outcome, runs: &[Run]) -> Vec<String> {
    let (reading, bad) = strictly(number, case);
    let mut faults = Vec::new();
    let mut fault = |who: &str, what: &str, outcome: &Outcome| {
        faults.push(format!(
            "{}, {:?}: {who}: {what}\n  sent {:?}\n  read strictly {reading:?} {}\n  \
             left the gateway {recorded:?}\n  {who}: {outcome:?}",
            case.family,
            case.name,
            case.bytes[..case.bytes.len().min(400)].escape_ascii().to_string(),
            bad.unwrap_or_default(),
        ));
    };
    if disagreement(&reading, &recorded.steps).is_some() {
        fault("the gateway", "reads it otherwise than the strictest reader", recorded);
    }
    let mut from_the_bad_one = recorded.steps.iter().skip(reading.len() - 1);
    if bad.is_some() && from_the_bad_one.any(|step| matches!(step, Step::Seen(_))) {
        fault("the gateway", "sends on what nobody should take, or what is behind it", recorded);
    }
    let through = runs.iter().map(|run| (run.name, &run.through[number]));
    for (name, outcome) in through.clone().chain([("the strict origin", recorded)]) {
        if disagreement(&recorded.steps, &outcome.steps).is_some() {
            fault(name, "reads otherwise what the gateway has sent", outcome);
        }
        if !outcome.unanswered.is_empty() {
            fault(name, "got a request that nobody was answered for", outcome);
        }
        if outcome.bystander.is_some() {
            fault(name, "somebody else was answered for it", outcome);
        }
    }
    faults
}
