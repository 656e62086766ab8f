//! What a stream is called, and where a page of streams begins.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Digits of an id.
const DIGITS: usize = 16;

/// Bits of the place in a shard's table: 4 million streams.
const KEY_BITS: u32 = 22;

/// Bits of the shard.
const SHARD_BITS: u32 = 10;

/// Names one stream for as long as the process runs: 16 hex digits. Made of what the shard has anyway:
/// the stream's place in its table, and how many streams there were before it, up to 2^32. Its client
/// is told it as the `session` of `hello`. It is a name and no secret: it gives no right to anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamId(u64);

impl StreamId {
    /// That of the stream with this key and generation.
    pub fn new(shard: usize, key: usize, generation: u32) -> Self {
        debug_assert!(shard < 1 << SHARD_BITS && key < 1 << KEY_BITS);
        Self(u64::from(generation) << 32 | (shard as u64) << KEY_BITS | key as u64)
    }

    /// The shard's number.
    pub fn shard(self) -> usize {
        (self.0 >> KEY_BITS) as usize & ((1 << SHARD_BITS) - 1)
    }

    /// The place in the shard's table.
    pub fn key(self) -> usize {
        self.0 as usize & ((1 << KEY_BITS) - 1)
    }

    /// Tells it from other streams that have had the same place.
    pub fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0DIGITS$x}", self.0)
    }
}

/// Not an id of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoId;

impl FromStr for StreamId {
    type Err = NoId;

    fn from_str(text: &str) -> Result<Self, NoId> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != DIGITS || !text.bytes().all(is_digit) {
            return Err(NoId);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| NoId)
    }
}

impl Serialize for StreamId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where a page begins: an entry of a shard's table. To who asks it is a text without a meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The shard's number.
    pub shard: usize,
    /// The entry.
    pub key: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.shard, self.key)
    }
}

impl FromStr for Place {
    type Err = NoId;

    fn from_str(text: &str) -> Result<Self, NoId> {
        let (shard, key) = text.split_once('.').ok_or(NoId)?;
        let number = |text: &str| text.parse().map_err(|_| NoId);
        Ok(Self { shard: number(shard)?, key: number(key)? })
    }
}

#[cfg(test)]
mod tests {
    //! Ids and places as texts.

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_reads_back_as_itself(shard in 0..1024usize, key in 0..1usize << 22, generation: u32) {
            let id = StreamId::new(shard, key, generation);
            prop_assert_eq!((id.shard(), id.key(), id.generation()), (shard, key, generation));
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            let place = Place { shard, key };
            prop_assert_eq!(place.to_string().parse(), Ok(place));
        }
    }

    #[test]
    fn other_texts_are_no_ids() {
        for text in [
            "",
            "0",
            "00000000000000000",
            "000000000000000g",
            "000000000000000A",
            "+00000000000000f",
        ] {
            assert_eq!(text.parse::<StreamId>(), Err(NoId), "{text}");
        }
        for text in ["", "1", "1.", ".1", "-1.2", "1.2.3"] {
            assert_eq!(text.parse::<Place>(), Err(NoId), "{text}");
        }
    }
}
