//! One case, said to one party: its bytes and a marker behind them on one connection, the answers, and
//! what the application has got meanwhile.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::corpus::Case;
use super::log::{Log, Seen};
use super::strict::{self, Reading};
use crate::support::chunks::ChunkDecoder;
use crate::support::{Connection, Deadline, Received};

/// A silence this long, and as long again after a fence has been answered, is waiting: the fence goes
/// the same way and is as late as anything else on a busy machine.
const QUIET: Duration = Duration::from_millis(150);

/// Most pieces that a case is sent in.
const PIECES_MAX: usize = 200;

const FENCE: &str = "/fence";

/// Who is talked to.
pub(crate) struct Party {
    pub(crate) address: SocketAddr,
    /// Of the application that is asked in the end.
    pub(crate) log: Log,
    /// Bytes of a case that are sent at once, if not all: they arrive in pieces, as networks have it.
    pub(crate) piece: Option<usize>,
}

/// What a party did about one request, or about what it took for one.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// The application got it.
    Seen(Seen),
    /// Answered with this status before the application.
    Own(u16),
    /// The connection ended.
    Closed,
    /// The party waits for more.
    Waiting,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seen(seen) => seen.fmt(f),
            Self::Own(status) => write!(f, "own answer {status}"),
            Self::Closed => f.write_str("closed"),
            Self::Waiting => f.write_str("waits for more"),
        }
    }
}

/// What became of a case.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) steps: Vec<Step>,
    /// What the application got and nobody was answered for.
    pub(crate) unanswered: Vec<Seen>,
    /// What the request of somebody else was answered with, if not with its own answer.
    pub(crate) bystander: Option<String>,
}

/// The request behind the case with this number.
fn marker(number: usize) -> (String, Vec<u8>) {
    let target = format!("/marker-{number}");
    let request = format!("GET {target} HTTP/1.1\r\nhost: marker.test\r\n\r\n");
    (target, request.into_bytes())
}

/// What is sent for a case.
fn message(number: usize, case: &Case) -> Vec<u8> {
    [&case.bytes[..], &marker(number).1].concat()
}

/// What the strictest reader makes of it, and whether it stopped at something that is no request.
pub(crate) fn strictly(number: usize, case: &Case) -> (Vec<Step>, Option<&'static str>) {
    let message = message(number, case);
    let (mut rest, mut steps) = (&message[..], Vec::new());
    while !rest.is_empty() {
        match strict::read(rest) {
            Reading::Whole { request, length, is_last } => {
                steps.push(Step::Seen(request));
                rest = &rest[length..];
                if is_last {
                    steps.push(Step::Closed);
                    break;
                }
            }
            Reading::Partial { .. } => {
                steps.push(Step::Waiting);
                break;
            }
            Reading::Bad(why) => {
                steps.push(Step::Closed);
                return (steps, Some(why));
            }
        }
    }
    (steps, None)
}

impl Party {
    /// Says a case and waits for the answer to its marker, the end, or a silence.
    pub(crate) fn hear(&self, number: usize, case: &Case) -> Outcome {
        let begin = self.log.count();
        let mut outcome = Outcome::default();
        let mut connection = Connection::open(self.address);
        let message = message(number, case);
        // A long one in no more than so many pieces.
        let piece = self.piece.map_or(message.len(), |piece| piece.max(message.len() / PIECES_MAX));
        message.chunks(piece).for_each(|piece| connection.send(piece));
        let (target, _) = marker(number);
        let mut answered = Vec::new();
        let mut is_quiet = false;
        loop {
            let received = connection.receive(Deadline::after(QUIET));
            let is_closed = matches!(received, Received::Closed | Received::Reset);
            while let Some(answer) = take_answer(&mut connection.buffer, is_closed) {
                outcome.steps.push(match answer.seen {
                    Some(seen) => {
                        answered.push(seen);
                        Step::Seen(self.log.since(seen, seen + 1).swap_remove(0))
                    }
                    None => Step::Own(answer.status),
                });
            }
            if matches!(outcome.steps.last(), Some(Step::Seen(seen)) if seen.target == target) {
                break;
            }
            match received {
                Received::Bytes(_) => is_quiet = false,
                Received::Nothing if is_quiet => {
                    outcome.steps.push(Step::Waiting);
                    break;
                }
                Received::Nothing => {
                    is_quiet = true;
                    outcome.bystander = outcome.bystander.or(self.fence().err());
                }
                Received::Closed | Received::Reset => {
                    outcome.steps.push(Step::Closed);
                    break;
                }
            }
        }
        drop(connection);
        outcome.bystander = outcome.bystander.or(self.fence().err());
        let seen = (begin..).zip(self.log.since(begin, begin));
        let of_the_case = seen.filter(|(_, seen)| seen.target != FENCE);
        let unanswered = of_the_case.filter(|(number, _)| !answered.contains(number));
        outcome.unanswered = unanswered.map(|(_, seen)| seen).collect();
        outcome
    }

    /// A request on a connection of its own: what the application got before is in its log once this
    /// is. Whoever is answered for another's request has been reached by it.
    fn fence(&self) -> Result<(), String> {
        let mut connection = Connection::open(self.address);
        connection.send(format!("GET {FENCE} HTTP/1.1\r\nhost: fence.test\r\n\r\n").as_bytes());
        let deadline = Deadline::patient();
        loop {
            let received = connection.receive(deadline);
            let is_over = !matches!(received, Received::Bytes(_));
            match take_answer(&mut connection.buffer, is_over) {
                Some(Answer { seen: Some(number), .. }) => {
                    let seen = self.log.since(number, number + 1).swap_remove(0);
                    return if seen.target == FENCE { Ok(()) } else { Err(format!("{seen:?}")) };
                }
                Some(Answer { status, seen: None }) => return Err(format!("status {status}")),
                None if is_over => return Err(format!("{received:?}")),
                None => {}
            }
        }
    }
}

struct Answer {
    status: u16,
    /// The number of the application's request.
    seen: Option<usize>,
}

/// The first whole response in the buffer, interim ones left out.
fn take_answer(buffer: &mut Vec<u8>, is_closed: bool) -> Option<Answer> {
    loop {
        let end = buffer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no response: {head:?}"));
        let field = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|value| value.trim().parse::<usize>().ok())
        };
        let (behind, length) = (&buffer[end..], field("content-length"));
        // The answer to a HEAD request has a length and no body; no body here begins like this.
        let has_body = !matches!(status, 100..=199 | 204 | 304) && !behind.starts_with(b"HTTP/1.");
        let body = match length {
            _ if !has_body => 0,
            None if head.contains("\r\ntransfer-encoding: chunked\r\n") => chunked_length(behind)?,
            Some(length) if length <= behind.len() => length,
            _ if is_closed => behind.len(),
            _ => return None,
        };
        let seen = field("x-seen");
        buffer.drain(..end + body);
        if !matches!(status, 100 | 102..=199) {
            return Some(Answer { status, seen });
        }
    }
}

/// The length of a chunked body, if it is all there.
fn chunked_length(bytes: &[u8]) -> Option<usize> {
    let mut chunks = ChunkDecoder::default();
    let rest = chunks.feed(bytes, &mut Vec::new()).expect("the answer is well-formed");
    chunks.ended().then(|| bytes.len() - rest)
}
