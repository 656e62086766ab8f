//! `cap`: a gateway with a short lifetime cap must end every stream by
//! `end(max_lifetime)` and a clean end of the body, at 80 to 100 % of the cap.
//!
//! Which clock points are honest. The gateway starts a stream's life at a moment the
//! client cannot see: after the client began to connect and before it read the
//! response head. So the stream's true age at its end lies between
//! `end - head` and `end - connect` (both `end`s as read, a little late).
//! "Too early" is claimed only when even the longer of the two is below 80 % of the
//! cap; "too late" only when even the shorter one is above the cap. Neither accuses
//! a gateway of the client's own connect queue. What is left in the client's disfavour
//! is the delay until it reads the `end`: `--grace` is for that. The spread reported is
//! measured from the head.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::cli::CapArgs;
use crate::clock::{nanos, now_ns, wait};
use crate::dialect::Dialect;
use crate::latency::latency_histogram;
use crate::reader::{Close, StreamEnd};
use crate::report::{self, Row};
use crate::session::{Session, Setup};
use crate::violations::{Kind, Violations};

/// Streams are waited for so long beyond the cap; then they count as never ended.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Serialize)]
struct Spread {
    min: f64,
    p50: f64,
    max: f64,
}

impl Spread {
    fn of_ns(ages: &Histogram<u64>) -> Self {
        let ms = |ns: u64| ns as f64 / 1e6;
        let p50 = ms(ages.value_at_quantile(0.5));
        Self { min: ms(ages.min()), p50, max: ms(ages.max()) }
    }
}

#[derive(Serialize)]
struct Details {
    cap_ms: f64,
    grace_ms: f64,
    ended: u64,
    age_from_head_ms: Spread,
    age_from_connect_ms: Spread,
}

pub(crate) fn run(args: &CapArgs) -> Result<bool, String> {
    args.common.check()?;
    if args.common.dialect != Dialect::Tidegate {
        return Err("cap checks the gateway's `end` events: leave out --dialect".to_owned());
    }
    let session = Session::start(&args.common, &Setup::default())?;
    let opening = session.open()?;
    let progress = session.progress("ending", u64::from(args.common.streams));
    let deadline = now_ns() + nanos(args.cap + args.grace + PATIENCE);
    while session.run.ended() < args.common.streams && now_ns() < deadline {
        progress.set_position(u64::from(session.run.ended()));
        wait(Duration::from_millis(5));
    }
    progress.finish_and_clear();
    let mut violations = Violations::default();
    let (mut from_head, mut from_connect) = (latency_histogram(), latency_histogram());
    for outcome in session.stop()? {
        violations.merge(outcome.tally.violations);
        for end in &outcome.streams {
            judge(end, args, &mut violations);
            if end.times.end_ns > 0 {
                from_head.saturating_record(end.times.end_ns - end.times.head_ns);
                from_connect.saturating_record(end.times.end_ns - end.times.connect_ns);
            }
        }
    }
    let details = Details {
        cap_ms: args.cap.as_secs_f64() * 1e3,
        grace_ms: args.grace.as_secs_f64() * 1e3,
        ended: from_head.len(),
        age_from_head_ms: Spread::of_ns(&from_head),
        age_from_connect_ms: Spread::of_ns(&from_connect),
    };
    let Spread { min, p50, max } = &details.age_from_head_ms;
    let rows: Vec<Row> = vec![
        ("ended by `end`", format!("{} of {}", details.ended, args.common.streams)),
        ("age at the end", format!("min {min:.0}  p50 {p50:.0}  max {max:.0} ms")),
    ];
    report::show("cap", &args.common, &opening, &details, &rows, &violations)
}

fn judge(end: &StreamEnd, args: &CapArgs, violations: &mut Violations) {
    let stream = end.check.stream;
    match (&end.close, end.check.ended.as_deref()) {
        (Close::Clean, Some("max_lifetime")) => {}
        (close, reason) => violations.add(Kind::Lifetime, || {
            format!("stream {stream}: {close}; end reason: {}", reason.unwrap_or("none"))
        }),
    }
    if end.times.end_ns == 0 {
        return;
    }
    let longest = Duration::from_nanos(end.times.end_ns - end.times.connect_ns);
    let shortest = Duration::from_nanos(end.times.end_ns - end.times.head_ns);
    if longest + args.grace < args.cap.mul_f64(0.8) {
        violations.add(Kind::Lifetime, || {
            format!("stream {stream} ended at {longest:?} of a cap of {:?}: too early", args.cap)
        });
    }
    if shortest > args.cap + args.grace {
        violations.add(Kind::Lifetime, || {
            format!("stream {stream} ended at {shortest:?} of a cap of {:?}: too late", args.cap)
        });
    }
}
