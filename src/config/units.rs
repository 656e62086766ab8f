//! Values as an operator writes them: `"15s"`, `"1MiB"`, `"127.0.0.1:8080"`. Owns their parsing,
//! printing and the wording of what was expected; which values make sense for which key is
//! `validate.rs`. Used by `schema.rs`.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const INTERVAL_EXPECTED: &str =
    "expected a length of time with its unit, like \"15s\" or \"250ms\"";
const BYTES_EXPECTED: &str = "expected a number of bytes like \"64KiB\", \"1MB\" or 65536";

/// A length of time, written `"250ms"`, `"15s"`, `"1h 30m"`; at most [`Interval::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(pub Duration);

impl Interval {
    /// The longest that parses: 366 days, so that adding it to an instant never overflows.
    pub const MAX: Self = Self(Duration::from_secs(366 * 24 * 3600));

    /// Longest text worth parsing, in bytes. With the cap on digits it keeps the sum inside
    /// `humantime` far from the end of `Duration`, where it would panic.
    const TEXT_BYTES_MAX: usize = 96;
    /// Longest run of digits worth parsing.
    const DIGITS_MAX: usize = 10;

    /// Reads a number of seconds without a unit, `"3600"` or `"0.5"`.
    ///
    /// # Errors
    /// What was expected, when the text is anything else, or longer than [`Interval::MAX`].
    pub fn from_seconds(text: &str) -> Result<Self, String> {
        let expected = "expected a number of seconds like 3600 or 0.5";
        // `f64` would also take "inf", "1e9" and "-1".
        if !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return Err(expected.into());
        }
        let seconds: f64 = text.parse().map_err(|_| expected.to_owned())?;
        Duration::try_from_secs_f64(seconds)
            .ok()
            .map(Self)
            .filter(|interval| *interval <= Self::MAX)
            .ok_or_else(too_long)
    }
}

fn too_long() -> String {
    "expected at most 366 days".into()
}

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim_start().starts_with('-') {
            return Err("a length of time cannot be negative".into());
        }
        let longest_number =
            text.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or(0);
        if text.len() > Self::TEXT_BYTES_MAX || longest_number > Self::DIGITS_MAX {
            return Err(too_long());
        }
        match humantime::parse_duration(text) {
            Ok(duration) if duration <= Self::MAX.0 => Ok(Self(duration)),
            Ok(_) => Err(too_long()),
            Err(_) => Err(INTERVAL_EXPECTED.into()),
        }
    }
}

impl Display for Interval {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl Serialize for Interval {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text { expected: INTERVAL_EXPECTED, parse: str::parse })
    }
}

const FSYNC_EXPECTED: &str = "expected \"always\" or a length of time like \"100ms\"";

/// When something written is on the disk for certain: `"always"`, or `"100ms"` later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Before it is acknowledged.
    Always,
    /// At the latest so long after it is acknowledged.
    Every(Interval),
}

impl FromStr for Fsync {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "always" => Ok(Self::Always),
            text => text.parse().map(Self::Every).map_err(|_| FSYNC_EXPECTED.to_owned()),
        }
    }
}

impl Display for Fsync {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("always"),
            Self::Every(interval) => interval.fmt(f),
        }
    }
}

impl Serialize for Fsync {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fsync {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text { expected: FSYNC_EXPECTED, parse: str::parse })
    }
}

/// A number of bytes, written `"64KiB"`, `"1MiB"`, `"1MB"` or as a plain integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub usize);

impl Bytes {
    /// `n` times 1024 bytes.
    pub const fn kib(n: usize) -> Self {
        Self(n * 1024)
    }

    /// `n` times 1024 x 1024 bytes.
    pub const fn mib(n: usize) -> Self {
        Self(n * 1024 * 1024)
    }
}

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.starts_with('-') {
            return Err("a number of bytes cannot be negative".into());
        }
        // `bytesize` would also take ".5KiB", and says less about "KiB".
        if !text.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(BYTES_EXPECTED.into());
        }
        // A plain number too large for `bytesize` would be refused for lack of a unit.
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        let text = format!("{text}{}", if is_plain { "B" } else { "" });
        let size: bytesize::ByteSize = text.parse().map_err(|_| BYTES_EXPECTED.to_owned())?;
        // `bytesize` saturates instead of failing; half the range is also TOML's largest integer.
        isize::try_from(size.as_u64())
            .map(|bytes| Self(bytes.unsigned_abs()))
            .map_err(|_| format!("expected fewer bytes than {}", Self(1 << (usize::BITS - 1))))
    }
}

/// The largest binary unit that is exact: `1MiB`, `1536KiB`, `1000B`.
impl Display for Bytes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let exact = if self.0 == 0 { 0 } else { self.0.trailing_zeros() as usize / 10 };
        let unit = exact.min(UNITS.len() - 1);
        write!(f, "{}{}", self.0 >> (10 * unit), UNITS[unit])
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BytesVisitor)
    }
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(BYTES_EXPECTED.trim_start_matches("expected "))
    }

    fn visit_i64<E: serde::de::Error>(self, bytes: i64) -> Result<Bytes, E> {
        usize::try_from(bytes)
            .map(Bytes)
            .map_err(|_| E::custom("a number of bytes cannot be negative"))
    }

    fn visit_u64<E: serde::de::Error>(self, bytes: u64) -> Result<Bytes, E> {
        usize::try_from(bytes).map(Bytes).map_err(E::custom)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Bytes, E> {
        text.parse().map_err(E::custom)
    }
}

/// Reads a listener's address; the standard library's own message says only "invalid syntax".
pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    const EXPECTED: &str =
        "expected an IP address and port like \"127.0.0.1:8080\" or \"[::1]:8080\"";
    let parse = |text: &str| text.parse().map_err(|_| EXPECTED.to_owned());
    deserializer.deserialize_str(Text { expected: EXPECTED, parse })
}

/// Visits a string and nothing else, saying what was expected in the same words either way.
struct Text<P> {
    expected: &'static str,
    parse: P,
}

impl<T, P: FnOnce(&str) -> Result<T, String>> Visitor<'_> for Text<P> {
    type Value = T;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected.trim_start_matches("expected "))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }
}

/// Written forms only: what parses, what does not and how it prints.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_need_a_unit_and_stay_below_a_year() {
        assert_eq!("1h 30m".parse(), Ok(Interval(Duration::from_secs(5400))));
        assert_eq!("0s".parse(), Ok(Interval(Duration::ZERO)));
        assert_eq!("1.5s".parse(), Ok(Interval(Duration::from_millis(1500))));
        for text in ["", "15", "soon", "15 parsecs", "."] {
            assert_eq!(text.parse::<Interval>(), Err(INTERVAL_EXPECTED.to_owned()), "{text}");
        }
        assert_eq!("-5s".parse::<Interval>().unwrap_err(), "a length of time cannot be negative");
        for text in ["2years", "99999999999999999999s", "18446744073709551615s 1000ms"] {
            assert_eq!(text.parse::<Interval>(), Err(too_long()), "{text}");
        }
        assert_eq!(Interval::MAX.to_string().parse(), Ok(Interval::MAX));
    }

    #[test]
    fn bare_seconds_are_whole_or_decimal() {
        assert_eq!(Interval::from_seconds("3600"), Ok(Interval(Duration::from_secs(3600))));
        assert_eq!(Interval::from_seconds("0.25"), Ok(Interval(Duration::from_millis(250))));
        for text in ["", ".", "1.2.3", "-1", "1e3", "inf", "1h"] {
            let error = Interval::from_seconds(text).unwrap_err();
            assert_eq!(error, "expected a number of seconds like 3600 or 0.5", "{text}");
        }
        assert_eq!(Interval::from_seconds("9".repeat(400).as_str()), Err(too_long()));
    }

    #[test]
    fn bytes_take_binary_and_decimal_units_and_plain_numbers() {
        for (text, bytes) in [
            ("64KiB", 65_536),
            ("64 KiB", 65_536),
            ("1MiB", 1 << 20),
            ("1MB", 1_000_000),
            ("1.5KiB", 1536),
            ("65536", 65_536),
            ("7B", 7),
            ("0", 0),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
    }

    #[test]
    fn bytes_refuse_nonsense_negatives_and_overflow() {
        for text in ["", "many", ".", "12 apples", "1_000", "KiB", "1.2.3KiB"] {
            assert_eq!(text.parse::<Bytes>(), Err(BYTES_EXPECTED.to_owned()), "{text}");
        }
        let negative = "-64KiB".parse::<Bytes>().unwrap_err();
        assert_eq!(negative, "a number of bytes cannot be negative");
        for text in ["16EiB", "99999999999999999999999", "8EiB"] {
            let error = text.parse::<Bytes>().unwrap_err();
            assert_eq!(error, "expected fewer bytes than 8EiB", "{text}");
        }
    }

    #[test]
    fn bytes_print_the_largest_exact_unit() {
        for (bytes, text) in [
            (0, "0B"),
            (1000, "1000B"),
            (1024, "1KiB"),
            (1536, "1536B"),
            (3 << 19, "1536KiB"),
            (1 << 30, "1GiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
            assert_eq!(text.parse(), Ok(Bytes(bytes)));
        }
    }
}
