//! What belongs here: `fanout` as a process against servers that are right and
//! servers that are wrong in one way. A witness that cannot fail proves nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its fixtures too")]

mod fake;

use fake::verdict::{Verdict, witness};
use fake::{Fake, Fault, Options};

const SHORT: [&str; 8] =
    ["--streams", "20", "--duration", "300ms", "--warmup", "100ms", "--settle", "500ms"];

fn paced(fault: Fault, more: &[&str]) -> Verdict {
    let fake = Fake::start(Options { fault, ..Options::default() });
    let mut args = SHORT.to_vec();
    args.extend(["--rate", "300"]);
    args.extend(more);
    witness("fanout", &fake, &args)
}

#[test]
fn a_good_server_passes_in_every_mode() {
    let fake = Fake::start(Options::default());
    let pid = std::process::id().to_string();
    let modes: [&[&str]; 5] = [
        &["--rate", "300"],
        &["--in-flight", "16"],
        &["--in-flight", "16", "--topics", "4", "--topics-per-stream", "2", "--threads", "2"],
        &["--in-flight", "64", "--publish-api", "publish", "--batch", "8"],
        &["--rate", "200", "--publish-api", "publish", "--topics", "3", "--server-pid", &pid],
    ];
    for mode in modes {
        let mut args = SHORT.to_vec();
        args.extend(mode);
        let verdict = witness("fanout", &fake, &args);
        verdict.assert_clean();
        let per_stream = if mode.contains(&"--topics-per-stream") { 2 } else { 1 };
        let topics = match mode {
            [.., "--topics", "4", _, _, _, _] => 4,
            [.., "--topics", "3", _, _] => 3,
            _ => 1,
        };
        let (events, deliveries) =
            (verdict.number("events_accepted"), verdict.number("deliveries"));
        assert!(events > 50, "{mode:?}: {events} events");
        let wanted = events * 20 * per_stream / topics;
        // A last, incomplete round over the topics reaches some streams only.
        assert!(deliveries.abs_diff(wanted) <= 20 * per_stream, "{mode:?}: {deliveries}/{wanted}");
    }
}

#[test]
fn publishing_to_nobody_needs_no_reader() {
    let fake = Fake::start(Options::default());
    let args = ["--streams", "0", "--duration", "200ms", "--warmup", "0s", "--in-flight", "512"];
    let batches = ["--publish-api", "publish", "--batch", "64"];
    let verdict = witness("fanout", &fake, &[&args[..], &batches].concat());
    verdict.assert_clean();
    assert!(verdict.number("events_accepted") > 1000, "{:#}", verdict.report);
}

#[test]
fn frames_cut_anywhere_pass() {
    paced(Fault::CutChunks, &[]).assert_clean();
}

#[test]
fn refused_publishes_are_counted_and_no_loss() {
    for mode in [&["--in-flight", "4"][..], &["--rate", "300"]] {
        let fake = Fake::start(Options { fault: Fault::Refuse, ..Options::default() });
        let mut args = SHORT.to_vec();
        args.extend(mode);
        let verdict = witness("fanout", &fake, &args);
        verdict.assert_clean();
        let (all, refused) = (verdict.number("events_published"), verdict.number("events_refused"));
        assert_eq!(refused, all / 10);
        assert_eq!(verdict.number("events_accepted"), all - refused);
    }
}

#[test]
fn an_event_dropped_in_silence_is_lost() {
    paced(Fault::Drop, &[]).assert_only("lost", 1);
}

#[test]
fn an_event_sent_twice_is_doubled() {
    paced(Fault::Double, &[]).assert_only("doubled", 1);
}

#[test]
fn two_events_swapped_are_out_of_order() {
    paced(Fault::Swap, &[]).assert_only("out_of_order", 1);
}

#[test]
fn a_cursor_ahead_of_its_events_is_out_of_order() {
    paced(Fault::CursorAhead, &[]).assert_only("out_of_order", 1);
}

#[test]
fn a_gap_is_believed_only_if_exact_and_in_time() {
    let honest = paced(Fault::HonestGap, &[]);
    honest.assert_clean();
    assert_eq!((honest.number("gaps"), honest.number("dropped_declared")), (1, 1));
    paced(Fault::WrongGapCount, &[]).assert_only("gap_count", 1);
    let late = paced(Fault::LateGap, &[]);
    assert_eq!((late.status, late.violations("lost"), late.violations("gap_count")), (1, 1, 1));
}

#[test]
fn changed_data_and_changed_ids_are_corrupt() {
    // The event it stood for was never received either.
    let data = paced(Fault::CorruptData, &[]);
    assert_eq!((data.violations("corrupt"), data.violations("lost")), (1, 1));
    assert_eq!(data.status, 1);
    // Caught by the stream or by the publisher, whichever learns the right id last.
    let id = paced(Fault::WrongId, &[]);
    assert_eq!((id.status, id.violations("corrupt")), (1, 1), "{:#}", id.report);
    let refused = paced(Fault::RefuseYetDeliver, &[]);
    assert!(refused.status == 1 && refused.violations("corrupt") > 5, "{:#}", refused.report);
}

/// Ids say nothing here: whatever goes wrong is seen by the events' own numbers.
#[test]
fn a_plain_server_is_held_to_its_events_alone() {
    let plain = |fault| {
        let fake = Fake::start(Options { fault, plain: true, ..Options::default() });
        let args = [&SHORT[..], &["--rate", "300", "--dialect", "plain"]].concat();
        witness("fanout", &fake, &args)
    };
    for harmless in [Fault::None, Fault::WrongId, Fault::DuplicateId, Fault::CursorAhead] {
        plain(harmless).assert_clean();
    }
    plain(Fault::Drop).assert_only("lost", 1);
    plain(Fault::Swap).assert_only("out_of_order", 1);
    plain(Fault::Double).assert_only("doubled", 1);
    let data = plain(Fault::CorruptData);
    assert_eq!((data.violations("corrupt"), data.violations("lost")), (1, 1));
    // To a plain server, a `gap` is an event that nobody published.
    let gap = plain(Fault::HonestGap);
    assert_eq!((gap.violations("protocol"), gap.violations("lost")), (1, 1));
}

#[test]
fn an_event_of_another_topic_is_misrouted() {
    let verdict = paced(Fault::Misroute, &["--topics", "2"]);
    assert!(verdict.status == 1 && verdict.violations("misrouted") > 5, "{:#}", verdict.report);
}

#[test]
fn streams_that_close_are_unexpected() {
    for fault in [Fault::Close, Fault::CloseMidFrame, Fault::EndEarly] {
        let verdict = paced(fault, &[]);
        assert_eq!((verdict.status, verdict.violations("unexpected_close")), (1, 1), "{fault:?}");
    }
    let chunk = paced(Fault::BadChunk, &[]);
    assert_eq!((chunk.status, chunk.violations("protocol")), (1, 1));
}

#[test]
fn an_id_given_twice_is_a_publish_violation() {
    let verdict = paced(Fault::DuplicateId, &[]);
    assert!(verdict.status == 1 && verdict.violations("publish") == 1, "{:#}", verdict.report);
}

/// Small buffers on both sides and a small ring: stuck streams lose events early.
/// How many gaps that makes is up to the kernel: whenever its buffers let a few more
/// bytes in, the gap owed goes out and the next loss begins another.
fn stuck(fault: Fault) -> Verdict {
    let fake = Fake::start(Options { fault, ring_frames: 16, sndbuf: 4096, ..Options::default() });
    let mut args = SHORT.to_vec();
    args.extend(["--rate", "1000", "--stuck-percent", "20", "--event-bytes", "512"]);
    witness("fanout", &fake, &args)
}

#[test]
fn stuck_streams_get_exact_gaps() {
    let verdict = stuck(Fault::None);
    verdict.assert_clean();
    let stuck = &verdict.report["stuck"];
    assert_eq!(stuck["streams"], 4);
    assert!(stuck["gaps_min"].as_u64().unwrap() >= 1, "{stuck}");
    assert!(stuck["lost_declared"].as_u64().unwrap() > 100, "{stuck}");
    assert!(stuck["events_after_gap_max"].as_u64().unwrap() <= 16, "{stuck}");
}

#[test]
fn stuck_streams_with_wrong_gaps_are_noticed() {
    let short = stuck(Fault::ShortRingGap);
    short.assert_only("gap_count", short.number("gaps"));
    let silent = stuck(Fault::SilentRing);
    assert_eq!(silent.status, 1);
    assert!(silent.violations("lost") > 100, "{:#}", silent.report["violations"]);
}

#[test]
fn a_stuck_stream_without_a_gap_is_noticed_on_request() {
    let lossless = ["--stuck-percent", "20"];
    paced(Fault::None, &lossless).assert_clean();
    let strict = paced(Fault::None, &["--stuck-percent", "20", "--require-one-gap"]);
    strict.assert_only("gap_count", 4);
}

/// How many events a second one client core verifies. By hand, in release:
/// `cargo test --release -p tidegate-loadtest --test witness -- --ignored --nocapture`
#[test]
#[ignore = "a measurement, for a quiet machine"]
fn capacity() {
    let fake = Fake::start(Options::default());
    let pid = std::process::id().to_string();
    for (streams, in_flight) in [("5000", "1"), ("5000", "16"), ("5000", "64"), ("18000", "16")] {
        let mut args = vec!["--streams", streams, "--in-flight", in_flight, "--duration", "5s"];
        args.extend(["--server-pid", &pid]);
        let verdict = witness("fanout", &fake, &args);
        verdict.assert_clean();
        println!("{streams} streams, {in_flight} in flight: {:#}", verdict.report["measured"]);
        println!("opening: {:#}", verdict.report["opening"]);
    }
}
