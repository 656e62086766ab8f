//! How long the parts of the data path take: `make bench-micro`, or `A=ring` for one of them.
//! `benches/README.md` says how to read the figures.

mod encode;
mod guard;
mod history;
#[path = "../inputs/mod.rs"]
mod inputs;
mod mailbox;
mod matching;
mod publish;
mod ring;
mod sweep;

use criterion::{criterion_group, criterion_main};

criterion_group!(
    benches,
    encode::bench,
    guard::bench,
    publish::bench,
    history::bench,
    mailbox::bench,
    matching::bench,
    ring::bench,
    sweep::bench
);
criterion_main!(benches);
