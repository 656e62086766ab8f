//! What a server's streams promise, and so what a stream is held to.

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Dialect {
    /// The gateway's contract: `hello`, ids, gaps, `end`.
    Tidegate,
    /// Any other server: streams open with their response head, ids and answers mean
    /// nothing. The number that each event carries takes the id's place: every stream
    /// must get each once, in order, unchanged.
    Plain,
}
