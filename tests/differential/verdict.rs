//! Whether two parties agree about where the requests end.

use super::conversation::Step;

/// The first step at which they do not.
///
/// Who refuses a request does not read it otherwise, and who closes reads nothing behind. All else is
/// a disagreement: another request, or a request where the other one still waits for a body.
pub(crate) fn disagreement(one: &[Step], other: &[Step]) -> Option<usize> {
    for (at, steps) in one.iter().zip(other).enumerate() {
        match steps {
            (Step::Closed, _) | (_, Step::Closed) => return None,
            (Step::Own(_), _) | (_, Step::Own(_)) => {}
            (one, other) if one != other => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Seen;

    fn seen(target: &str) -> Step {
        Step::Seen(Seen::new("GET", target, Vec::new()))
    }

    #[test]
    fn parties_disagree_when_one_reads_another_request_or_none_yet() {
        let marker = || seen("/marker");
        for (one, other, expected) in [
            (vec![seen("/a"), marker()], vec![seen("/a"), marker()], None),
            (vec![seen("/a"), marker()], vec![seen("/b"), marker()], Some(0)),
            (vec![seen("/a"), seen("/smuggled")], vec![seen("/a"), marker()], Some(1)),
            (vec![seen("/a"), Step::Waiting], vec![seen("/a"), marker()], Some(1)),
            (vec![Step::Waiting], vec![Step::Waiting], None),
            (vec![Step::Own(400), Step::Closed], vec![seen("/a"), marker()], None),
            (vec![Step::Own(405), marker()], vec![seen("/a"), marker()], None),
            (vec![Step::Own(405), seen("/smuggled")], vec![seen("/a"), marker()], Some(1)),
            (vec![seen("/a"), Step::Closed], vec![seen("/a"), marker()], None),
            (vec![], vec![marker()], None),
        ] {
            assert_eq!(disagreement(&one, &other), expected, "{one:?}, {other:?}");
            assert_eq!(disagreement(&other, &one), expected, "{other:?}, {one:?}");
        }
    }
}
