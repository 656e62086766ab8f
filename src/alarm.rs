//! A timer for deadlines that mostly do not come: each new one would cost a registration with the runtime,
//! and then its removal. This one stays set when its deadline moves away: it goes off then, and is set
//! again.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::task::coop::unconstrained;
use tokio::time::{Sleep, sleep_until};

/// Set when somebody first waits for it, and at most one entry of the runtime's timer ever after.
#[derive(Debug, Default)]
pub struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready when it is `due`, which may be another time at each call.
    pub fn poll(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep_until(due.into())));
        if timer.deadline() > due.into() {
            timer.as_mut().reset(due.into());
        }
        // Also at the end of a task's budget: who floods us would use that up each time.
        while pin!(unconstrained(timer.as_mut())).poll(cx).is_ready() {
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due.into());
        }
        Poll::Pending
    }
}

/// What belongs here: when it goes off.
#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    #[tokio::test(flavor = "current_thread")]
    async fn the_last_deadline_counts_whichever_way_it_moved() {
        let (begin, mut alarm) = (Instant::now(), Alarm::default());
        let ms = Duration::from_millis;
        for due in [ms(10_000), ms(40), ms(80)].map(|after| begin + after) {
            let polled = poll_fn(|cx| Poll::Ready(alarm.poll(due, cx))).await;
            assert!(polled.is_pending());
        }
        poll_fn(|cx| alarm.poll(begin + ms(80), cx)).await;
        assert!((ms(80)..ms(5000)).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    }
}
