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
//! anybody else is answered for what was sent. The strictest reading is held against the whole case and
//! against the case sent in pieces of a few bytes.
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
    let recorder = |piece| {
        let Origin { address, log } = Origin::start();
        Party { address, log, piece }
    };
    let (whole, in_pieces) = (recorder(None), recorder(Some(7)));
    let backends = backends::start_all();
    let (recorded, pieces, runs) = thread::scope(|scope| {
        let corpus = &corpus;
        let recording = scope.spawn(|| through_a_gateway(&whole, corpus));
        let piecing = scope.spawn(|| through_a_gateway(&in_pieces, corpus));
        let running = backends.iter().map(|backend| {
            scope.spawn(|| Run {
                name: backend.name,
                direct: hear_all(&backend.party, corpus),
                through: through_a_gateway(&backend.party, corpus),
            })
        });
        let running: Vec<_> = running.collect();
        let runs: Vec<Run> = running.into_iter().map(|run| run.join().expect("a run")).collect();
        (recording.join().expect("a run"), piecing.join().expect("a run"), runs)
    });
    let faults_of = |number| {
        let left = [("the gateway", &recorded[number]), ("it, in pieces", &pieces[number])];
        let through = runs.iter().map(|run| (run.name, &run.through[number]));
        faults(number, &corpus[number], left, through)
    };
    let faults: Vec<String> = (0..corpus.len()).flat_map(faults_of).collect();
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
    let party = Party { address: gateway.public, log: server.log.clone(), piece: server.piece };
    hear_all(&party, corpus)
}

/// What the parties disagree about: what left the gateway, when the case came whole and in pieces, and
/// what each server has got.
fn faults<'a>(
    number: usize,
    case: &Case,
    left: [(&'static str, &'a Outcome); 2],
    through: impl Iterator<Item = (&'static str, &'a Outcome)>,
) -> Vec<String> {
    let (reading, bad) = strictly(number, case);
    let (_, recorded) = left[0];
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
    for (name, outcome) in left {
        if disagreement(&reading, &outcome.steps).is_some() {
            fault(name, "reads it otherwise than the strictest reader", outcome);
        }
        let mut from_the_bad_one = outcome.steps.iter().skip(reading.len() - 1);
        if bad.is_some() && from_the_bad_one.any(|step| matches!(step, Step::Seen(_))) {
            fault(name, "sends on what nobody should take, or what is behind it", outcome);
        }
    }
    for (name, outcome) in left.into_iter().chain(through) {
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
