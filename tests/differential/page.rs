//! Keeps `docs/SMUGGLING.md` true. What the gateway does is held by the test; what the servers do
//! without it depends on their versions, and is written when the page is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use super::Run;
use super::backends;
use super::conversation::{Outcome, Step};
use super::corpus::Case;
use super::verdict::disagreement;

const PAGE: &str = "docs/SMUGGLING.md";

const ABOUT: &str = "\
# Smuggling

Request smuggling takes two parties that disagree about where a request ends. `tests/differential.rs`
sends a corpus of valid and malformed requests, each with a marker request behind it on the same
connection, through the gateway to six servers, and straight to them. It fails when behind the gateway
two parties read a case differently: the client's bytes read strictly, what leaves the gateway, and what
each server's application has got must be the same requests, with the same bodies. Who refuses a request
does not read it otherwise.

A case is *waiting for more* when it announces a body that does not come whole. It is *refused by a
server* when the gateway sends it on, or one of its requests, and at least one of the servers refuses it.

This page is written by the test: `BLESS=1 cargo test --test differential`.

## With the gateway

";

const WITHOUT: &str = "\
## Without it

The same bytes sent straight to the servers. A case is read differently when, of two that take it, one
has got another request than the other, or one still waits for a body where the other has gone on.

";

/// The parts of the page: what is held, and what is not.
pub(crate) fn check(corpus: &[Case], recorded: &[Outcome], runs: &[Run]) {
    let held = ABOUT.to_owned() + &with_the_gateway(corpus, recorded, runs);
    if std::env::var_os("BLESS").is_some() {
        let page = held.clone() + WITHOUT + &without_it(corpus, runs);
        fs::write(PAGE, page).expect("docs/ can be written");
    }
    let found = fs::read_to_string(PAGE).unwrap_or_default();
    let is_current = found.strip_prefix(&held).is_some_and(|rest| rest.starts_with(WITHOUT));
    assert!(is_current, "{PAGE} is out of date: BLESS=1 cargo test --test differential\n{held}");
}

fn with_the_gateway(corpus: &[Case], recorded: &[Outcome], runs: &[Run]) -> String {
    let mut rows = vec![Row::new("**all**")];
    for (number, case) in corpus.iter().enumerate() {
        if rows.last().is_none_or(|row| row.family != case.family) {
            rows.push(Row::new(&case.family));
        }
        let last = rows.len() - 1;
        for at in [0, last] {
            rows[at].count(&recorded[number], runs.iter().map(|run| &run.through[number]));
        }
    }
    rows.rotate_left(1);
    let mut table = "\
| family | cases | sent on | refused by the gateway | waiting for more | refused by a server | read differently |
|---|---|---|---|---|---|---|
"
    .to_owned();
    for Row { family, cases, passed, refused, waiting, by_servers } in rows {
        let statuses: Vec<String> =
            refused.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        let statuses = statuses.join(", ");
        writeln!(
            table,
            "| {family} | {cases} | {passed} | {statuses} | {waiting} | {by_servers} | 0 |"
        )
        .expect("a String grows");
    }
    table + "\n"
}

struct Row {
    family: String,
    cases: usize,
    passed: usize,
    refused: BTreeMap<u16, usize>,
    waiting: usize,
    by_servers: usize,
}

impl Row {
    fn new(family: &str) -> Self {
        let refused = BTreeMap::new();
        Self { family: family.to_owned(), cases: 0, passed: 0, refused, waiting: 0, by_servers: 0 }
    }

    fn count<'a>(&mut self, recorded: &Outcome, mut through: impl Iterator<Item = &'a Outcome>) {
        self.cases += 1;
        let own = |step: &Step| if let Step::Own(status) = step { Some(*status) } else { None };
        let statuses: Vec<u16> = recorded.steps.iter().filter_map(own).collect();
        match statuses.last() {
            Some(status @ 400..) => *self.refused.entry(*status).or_default() += 1,
            _ if recorded.steps.last() == Some(&Step::Waiting) => self.waiting += 1,
            _ => self.passed += 1,
        }
        let refuses =
            |outcome: &Outcome| outcome.steps.iter().filter_map(own).count() > statuses.len();
        self.by_servers += usize::from(through.any(refuses));
    }
}

fn without_it(corpus: &[Case], runs: &[Run]) -> String {
    let differ = |one: &Run, other: &Run, number: usize| {
        disagreement(&one.direct[number].steps, &other.direct[number].steps).is_some()
    };
    let is_read_differently =
        |number: usize| runs.iter().any(|one| runs.iter().any(|other| differ(one, other, number)));
    let is_taken = |run: &Run, number: usize| match run.direct[number].steps.first() {
        Some(Step::Seen(_)) => Some(true),
        Some(Step::Own(400..) | Step::Closed) => Some(false),
        _ => None,
    };
    let is_taken_by_some = |number: usize| {
        let by = |taken| runs.iter().any(|run| is_taken(run, number) == Some(taken));
        by(true) && by(false)
    };
    let cases = || 0..corpus.len();
    let (count, of) = (cases().filter(|number| is_read_differently(*number)).count(), corpus.len());
    let by_some = cases().filter(|number| is_taken_by_some(*number)).count();
    let versions = backends::versions().join(", ");
    let mut page = format!(
        "**{count} of {of} cases are read differently, {by_some} are taken by some and refused by \
         others**: {versions}.\n\n"
    );
    page.push_str("| read differently by |");
    runs.iter().for_each(|run| write!(page, " {} |", run.name).expect("a String grows"));
    writeln!(page, "\n|---{}|", "|---".repeat(runs.len())).expect("a String grows");
    for one in runs {
        write!(page, "| {} |", one.name).expect("a String grows");
        for other in runs {
            let count = cases().filter(|number| differ(one, other, *number)).count();
            write!(page, " {count} |").expect("a String grows");
        }
        page.push('\n');
    }
    page.push_str("\n| family | taken by some | read differently | which |\n|---|---|---|---|\n");
    let families: BTreeSet<&str> = corpus.iter().map(|case| case.family.as_str()).collect();
    for family in families {
        let of_family = || cases().filter(|number| corpus[*number].family == family);
        let by_some = of_family().filter(|number| is_taken_by_some(*number)).count();
        let different = of_family().filter(|number| is_read_differently(*number));
        let names: Vec<String> = different.map(|number| code(&corpus[number].name)).collect();
        let (count, names) = (names.len(), names.join(", "));
        writeln!(page, "| {family} | {by_some} | {count} | {names} |").expect("a String grows");
    }
    page
}

/// As code in a table's cell.
fn code(name: &str) -> String {
    format!("`` {} ``", name.replace('|', "\\|"))
}
