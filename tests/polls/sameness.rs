//! A stream and a chain of polls that begin at the same cursor are told the same: gap, snapshot, retained
//! values and events, whatever was published before and meanwhile.

use fastrand::Rng;
use serde_json::Value;

use crate::support::Gateway;
use crate::support::app::{self, App};
use crate::{Poller, data};

const TARGET: &str = "/boards/42/events";
const LAST: &str = "the last";

/// What a client is told: an id, the name of an event, and its data.
type Told = (String, String, String);

/// A gap's data, in an order that does not depend on who has written it.
fn of_gap(gap: &Value) -> Told {
    let fields = ["after", "to", "count", "reason"].map(|name| gap[name].to_string());
    (String::new(), "gap".into(), fields.join(" "))
}

fn polled(poller: &mut Poller, told: &mut Vec<Told>) -> bool {
    let events = poller.poll();
    if !poller.gap.is_null() {
        told.push(of_gap(&poller.gap));
    }
    told.extend(events.iter().map(|event| {
        let text = |name: &str| event[name].as_str().map(str::to_owned);
        let name = text("event").unwrap_or_else(|| "message".into());
        (text("id").unwrap_or_default(), name, text("data").expect("data is text"))
    }));
    data(&events).last() == Some(&LAST)
}

fn publish(gateway: &Gateway, random: &mut Rng, retained: bool) {
    let (topic, name) = (["board.42", "agents.7"][random.usize(..2)], random.u8(..4));
    let text = random.u32(..);
    let retain = retained && random.bool();
    let event = match name {
        0 => String::new(),
        name => format!(r#""event":"e{name}","#),
    };
    let event = format!(r#"{{"topic":"{topic}",{event}"data":"{text}","retain":{retain}}}"#);
    gateway.publish(&event).expect_status(202);
}

/// Rounds of a stream and polls from where the polls of the round before have come to. The history has five
/// events of a topic: a round may begin with more than that, and no two polls have more between them.
#[track_caller]
fn expect_the_same(keys: &str, retained: bool, seed: u64) {
    let config = format!(
        "[history]\nevents_max = 5\n[stream]\nring_frames_max = 16\n[[stream.routes]]\n\
         path = '/boards/{{boardId}}/events'\ntopics = ['board.{{boardId}}', 'agents.*']\n{keys}\n"
    );
    let gateway = Gateway::builder().config(&config).start();
    let mut random = Rng::with_seed(seed);
    let mut poller = Poller::new(&gateway, &format!("{TARGET}?wait=0s"));
    let mut gaps = 0;
    for round in 0..40 {
        for _ in 0..random.usize(..14) {
            publish(&gateway, &mut random, retained);
        }
        let mut stream = gateway.subscriber("").target(TARGET);
        if let Some(cursor) = &poller.cursor {
            stream = stream.after(cursor);
        }
        let mut stream = stream.open();
        stream.expect_hello();
        let mut by_polls = Vec::new();
        polled(&mut poller, &mut by_polls);
        for _ in 0..random.usize(..6) {
            for _ in 0..random.usize(..5) {
                publish(&gateway, &mut random, retained);
            }
            polled(&mut poller, &mut by_polls);
        }
        gateway.topic("board.42").publish(LAST);
        while !polled(&mut poller, &mut by_polls) {}
        let mut streamed = Vec::new();
        while streamed.last().is_none_or(|(_, _, data): &Told| data != LAST) {
            let event = stream.next();
            streamed.push(match &*event.event {
                "gap" => of_gap(&serde_json::from_str(&event.data).expect("JSON")),
                _ => (event.id, event.event, event.data),
            });
        }
        assert_eq!(by_polls, streamed, "round {round}, seed {seed}");
        gaps += by_polls.iter().filter(|(_, name, _)| name == "gap").count();
    }
    assert!(gaps > 3, "only {gaps} gaps were told");
}

#[test]
fn need_a4_polls_and_a_stream_from_the_same_cursor_are_told_the_same() {
    expect_the_same("", false, 1);
}

#[test]
fn need_a4_so_they_are_where_there_are_retained_values() {
    expect_the_same("", true, 2);
}

#[test]
fn need_a4_so_they_are_where_there_is_a_snapshot() {
    for (retained, seed) in [(false, 3), (true, 4)] {
        let app = App::new(|_| app::json("state"));
        let keys = format!(
            "[stream.routes.snapshot]\nurl = '{}/state'\nevent = 'state'\nttl = '0s'",
            app.url()
        );
        expect_the_same(&keys, retained, seed);
    }
}
