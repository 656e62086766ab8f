//! Topics and patterns: what may be published to and subscribed to. Pure; the shard's index does
//! the matching.

mod template;

pub use template::{Facts, NoTopic, Template};

use std::fmt;
use std::sync::Arc;

/// Longest topic or pattern, in bytes of UTF-8.
pub const TOPIC_BYTES_MAX: usize = 512;

/// Most tokens of a pattern. A shard keeps a node for each, so this bounds what one request can
/// make it hold.
pub const PATTERN_TOKENS_MAX: usize = 16;

/// The topic of a publish that reaches every stream.
pub const BROADCAST: &str = "*";

/// Begins the names of topics that only the gateway itself gives out. No client can say it.
const PRIVATE: char = '\u{1}';

/// A topic that events can be published to: 1 to 512 bytes of UTF-8 without control, bidi or
/// zero-width characters, and not a pattern. Cloning shares the text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Arc<str>);

impl Topic {
    /// Whether the two are one name in memory, not only equal.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Checks `text` and makes a topic of it.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        check_text(text)?;
        if is_pattern(text) {
            return Err(TopicError::Wildcard);
        }
        Ok(Self(text.into()))
    }

    /// A topic of the gateway's own: nobody can name it, and no pattern matches it. `name` is made by
    /// us, and of one token.
    pub fn private(name: &str) -> Self {
        Self(format!("{PRIVATE}{name}").into())
    }

    /// Whether this is the text of a private topic.
    pub fn is_private_name(text: &str) -> bool {
        text.starts_with(PRIVATE)
    }

    /// The topic's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a subscriber asks for: one topic, or every topic that a pattern matches. Patterns use the
/// NATS grammar: tokens split by `.`, `*` is one token, a final `>` is one or more.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Filter {
    /// This topic only.
    Exact(Topic),
    /// Every topic this pattern matches.
    Pattern(Arc<str>),
}

impl Filter {
    /// Checks `text` and makes a filter of it.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        check_text(text)?;
        if !is_pattern(text) {
            return Ok(Self::Exact(Topic(text.into())));
        }
        if text.split('.').count() > PATTERN_TOKENS_MAX {
            return Err(TopicError::TooManyTokens);
        }
        let mut tokens = text.split('.').peekable();
        while let Some(token) = tokens.next() {
            if token.is_empty() {
                return Err(TopicError::EmptyToken);
            }
            if token == ">" && tokens.peek().is_some() {
                return Err(TopicError::TailNotLast);
            }
        }
        Ok(Self::Pattern(text.into()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Exact(topic) => topic.as_str(),
            Self::Pattern(pattern) => pattern,
        }
    }

    /// Whether events of `topic` are asked for. Takes time linear in both texts.
    pub fn matches(&self, topic: &Topic) -> bool {
        match self {
            Self::Exact(own) => own == topic,
            Self::Pattern(_) if Topic::is_private_name(topic.as_str()) => false,
            Self::Pattern(pattern) => pattern_matches(pattern, topic.as_str()),
        }
    }
}

fn pattern_matches(pattern: &str, topic: &str) -> bool {
    let mut tokens = topic.split('.');
    for wanted in pattern.split('.') {
        match (wanted, tokens.next()) {
            (_, None) => return false,
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

/// Whether `text` means more than itself. `*` and `>` are special only as whole tokens.
fn is_pattern(text: &str) -> bool {
    text.split('.').any(|token| token == "*" || token == ">")
}

/// Whether `text` is one token of a topic and nothing more wherever it is put: a topic without `.`, `*`,
/// `>` and spaces.
pub fn is_token(text: &str) -> bool {
    let is_more = |character: char| ".*>".contains(character) || character.is_whitespace();
    check_text(text).is_ok() && !text.contains(is_more)
}

fn check_text(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > TOPIC_BYTES_MAX {
        return Err(TopicError::TooLong);
    }
    match text.chars().find(|&character| is_forbidden(character)) {
        Some(character) => Err(TopicError::Character(character)),
        None => Ok(()),
    }
}

/// Characters that make two different topics look alike, or a log line lie.
fn is_forbidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            // Bidirectional formatting.
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Zero width.
            | '\u{180e}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{feff}'
            // Line and paragraph separators.
            | '\u{2028}' | '\u{2029}')
}

/// Why a text is not a topic or not a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicError {
    /// It has no bytes.
    Empty,
    /// It has more than [`TOPIC_BYTES_MAX`] bytes.
    TooLong,
    /// It holds a control, bidi or zero-width character.
    Character(char),
    /// It is a pattern where a topic is needed.
    Wildcard,
    /// A pattern has two dots in a row, or one at an end.
    EmptyToken,
    /// A pattern has more than [`PATTERN_TOKENS_MAX`] tokens.
    TooManyTokens,
    /// A pattern has `>` before its end.
    TailNotLast,
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "a topic has at least one byte"),
            Self::TooLong => write!(f, "a topic has at most {TOPIC_BYTES_MAX} bytes"),
            Self::Character(character) => write!(
                f,
                "a topic holds no control, bidi or zero-width characters, and this one holds {}",
                character.escape_unicode()
            ),
            Self::Wildcard => {
                write!(f, "events go to one topic each, so a token cannot be `*` or `>`")
            }
            Self::EmptyToken => write!(f, "a pattern has no empty tokens"),
            Self::TooManyTokens => {
                write!(f, "a pattern has at most {PATTERN_TOKENS_MAX} tokens")
            }
            Self::TailNotLast => write!(f, "`>` is only allowed as a pattern's last token"),
        }
    }
}

impl std::error::Error for TopicError {}

#[cfg(test)]
mod tests {
    //! What is a topic, what is a pattern, what is neither.

    use super::*;

    #[test]
    fn f03_control_characters_are_refused() {
        for bad in ["a\0b", "a\nb", "a\rb", "\u{1b}[31m", "a\u{7f}", "a\u{85}b"] {
            assert!(matches!(Topic::parse(bad), Err(TopicError::Character(_))), "{bad:?}");
        }
    }

    #[test]
    fn f04_bidi_and_zero_width_characters_are_refused() {
        for bad in ["a\u{202e}b", "a\u{200b}b", "\u{feff}a", "a\u{2066}", "a\u{200d}b"] {
            assert!(matches!(Topic::parse(bad), Err(TopicError::Character(_))), "{bad:?}");
            assert!(matches!(Filter::parse(bad), Err(TopicError::Character(_))), "{bad:?}");
        }
    }

    #[test]
    fn length_is_counted_in_bytes() {
        assert!(Topic::parse(&"é".repeat(256)).is_ok());
        assert_eq!(Topic::parse(&"é".repeat(257)), Err(TopicError::TooLong));
        assert_eq!(Topic::parse(""), Err(TopicError::Empty));
    }

    #[test]
    fn stars_inside_a_token_are_literal() {
        for literal in
            ["a*", "*a.b", "a.b>", "https://example.com/books/1?x=*y", "a..b", ".", "日本"]
        {
            assert!(matches!(Filter::parse(literal), Ok(Filter::Exact(_))), "{literal}");
            assert!(Topic::parse(literal).is_ok(), "{literal}");
        }
    }

    #[test]
    fn a_token_stays_one_token_wherever_it_is_put() {
        for token in ["42", "a-b_C", "日本", "a%2e", "$SYS"] {
            assert!(is_token(token), "{token}");
        }
        for other in ["", "*", ">", "a*", "a.b", ".", "a b", "a\u{a0}b", "a\0b", "a\u{200b}"] {
            assert!(!is_token(other), "{other:?}");
        }
        assert!(!is_token(&"x".repeat(TOPIC_BYTES_MAX + 1)));
    }

    #[test]
    fn patterns_follow_the_nats_grammar() {
        for pattern in ["*", ">", "a.*", "a.>", "*.*.b", "a.*.>"] {
            assert!(matches!(Filter::parse(pattern), Ok(Filter::Pattern(_))), "{pattern}");
            assert_eq!(Topic::parse(pattern), Err(TopicError::Wildcard), "{pattern}");
        }
        assert_eq!(Filter::parse(">.a"), Err(TopicError::TailNotLast));
        assert_eq!(Filter::parse("a.>.>"), Err(TopicError::TailNotLast));
        assert_eq!(Filter::parse("a..*"), Err(TopicError::EmptyToken));
        assert_eq!(Filter::parse("*."), Err(TopicError::EmptyToken));
        let deepest = format!("{}*", "a.".repeat(PATTERN_TOKENS_MAX - 1));
        assert!(Filter::parse(&deepest).is_ok());
        assert_eq!(Filter::parse(&format!("a.{deepest}")), Err(TopicError::TooManyTokens));
    }
}
