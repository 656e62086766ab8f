//! Query strings: names and values as bytes, because what they decode to need not be text.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// A query's names and values, percent-decoded, with `+` as a space. A `%` that starts no escape
/// stands for itself, as in the WHATWG URL standard.
pub fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

fn decode(text: &str) -> Cow<'_, [u8]> {
    if text.contains('+') {
        Cow::Owned(percent_decode_str(&text.replace('+', " ")).collect())
    } else {
        percent_decode_str(text).into()
    }
}

#[cfg(test)]
mod tests {
    //! Decoding, by example.

    use super::*;

    #[test]
    fn names_and_values_are_decoded_to_bytes() {
        let pairs: Vec<_> = pairs("a=1&&b&%63=x+y%2B&d=%ff&e=%zz&f==").collect();
        let expected: [(&[u8], &[u8]); 6] = [
            (b"a", b"1"),
            (b"b", b""),
            (b"c", b"x y+"),
            (b"d", b"\xff"),
            (b"e", b"%zz"),
            (b"f", b"="),
        ];
        for (found, expected) in pairs.iter().zip(expected) {
            assert_eq!((&*found.0, &*found.1), expected);
        }
        assert_eq!(pairs.len(), expected.len());
    }
}
