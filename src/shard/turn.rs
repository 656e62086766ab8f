//! The shard's loop. Each turn takes a little of everything that waits (events, readiness, timers, a
//! slice of the sweep) and then yields to the runtime, which accepts, parses and publishes.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep_until};

use super::streams::Streams;

/// A shard turns at least this often, to show that it is alive.
const IDLE: Duration = Duration::from_secs(1);

/// Runs until its future is dropped. Fails only if the poll set does, without which there is no
/// shard.
pub(super) async fn run(
    streams: Rc<RefCell<Streams>>,
    alive: impl Fn(Instant),
) -> io::Result<std::convert::Infallible> {
    let mut happened = Vec::new();
    let mut sleep = std::pin::pin!(sleep_until(Instant::now().into()));
    loop {
        poll_fn(|cx| {
            let mut streams = streams.borrow_mut();
            let polled = streams.poll_set.poll(cx, &mut happened)?;
            let mail = streams.mailbox.poll_ready(cx);
            let time = poll_sleep(sleep.as_mut(), streams.next_deadline(), cx);
            let idle = polled.is_pending() && mail.is_pending() && time.is_pending();
            if idle && !streams.has_work() {
                Poll::Pending
            } else {
                Poll::Ready(io::Result::Ok(()))
            }
        })
        .await?;
        {
            let mut streams = streams.borrow_mut();
            streams.look_at_clock();
            alive(streams.now);
            streams.deliver();
            for ready in happened.drain(..) {
                streams.on_ready(ready);
            }
            streams.run_timers();
            streams.sweep();
        }
        tokio::task::yield_now().await;
    }
}

fn poll_sleep(
    mut sleep: std::pin::Pin<&mut Sleep>,
    deadline: Option<Instant>,
    cx: &mut std::task::Context<'_>,
) -> Poll<()> {
    let latest = Instant::now() + IDLE;
    let deadline = deadline.map_or(latest, |deadline| deadline.min(latest)).into();
    // What has elapsed is told, and the next deadline registered in the same poll.
    let elapsed = sleep.is_elapsed();
    if elapsed || sleep.deadline() > deadline {
        sleep.as_mut().reset(deadline);
    }
    let polled = sleep.poll(cx);
    if elapsed { Poll::Ready(()) } else { polled }
}
