//! What a request may not have.

use std::fmt;

/// What is wrong with a request. `http::problem` says what status it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A line ends in LF without CR.
    BareLineFeed,
    /// More than this many empty lines before the request line.
    EmptyLines(usize),
    /// Not `method SP request-target SP HTTP-version`.
    RequestLine,
    /// A request line of more than this many bytes.
    RequestLineTooLong(usize),
    /// A request-target of no form, or with characters it may not have.
    Target,
    /// Neither HTTP/1.1 nor HTTP/1.0.
    Version,
    /// A tunnel.
    Connect,
    /// A head of more than this many bytes.
    HeadTooLarge(usize),
    /// More than this many field lines.
    TooManyFields(usize),
    /// A line that begins with whitespace.
    FoldedLine,
    /// Whitespace between a name and its colon.
    SpaceBeforeColon,
    /// A field line without a name that is a token and a colon.
    FieldName,
    /// A control character in the value of this field.
    FieldValue(String),
    /// HTTP/1.1 without `host`.
    HostMissing,
    /// Two `host` fields.
    HostRepeated,
    /// Not a host with an optional port.
    HostInvalid,
    /// The request-target names another host.
    HostDiffers,
    /// Not digits that make a 63-bit number.
    ContentLength,
    /// Two lengths, be they equal.
    ContentLengthRepeated,
    /// A length and chunks.
    LengthAndEncoding,
    /// Not `chunked`, once.
    TransferEncoding,
    /// HTTP/1.0 has no transfer codings.
    TransferEncodingInHttp10,
    /// These codings before `chunked`.
    TransferCoding(String),
    /// Anything but `100-continue`.
    Expectation,
    /// The body could be the other protocol's first bytes.
    UpgradeWithBody,
    /// A chunk's first line is not a size in hexadecimal digits, and extensions.
    ChunkSize,
    /// Extensions of too many bytes.
    ChunkLineTooLong,
    /// A chunk is longer than its size.
    ChunkEnd,
    /// Trailers of more than this many bytes.
    TrailersTooLarge(usize),
    /// A field that a trailer may not have.
    Trailer(String),
}

impl Fault {
    /// The part of the request that is wrong.
    pub fn field(&self) -> &str {
        match self {
            Self::EmptyLines(_) | Self::RequestLine => "request-line",
            Self::RequestLineTooLong(_) | Self::Target => "request-target",
            Self::Version => "version",
            Self::Connect => "method",
            Self::BareLineFeed
            | Self::HeadTooLarge(_)
            | Self::TooManyFields(_)
            | Self::FoldedLine
            | Self::SpaceBeforeColon
            | Self::FieldName => "headers",
            Self::FieldValue(name) | Self::Trailer(name) => name,
            Self::HostMissing | Self::HostRepeated | Self::HostInvalid | Self::HostDiffers => {
                "host"
            }
            Self::ContentLength | Self::ContentLengthRepeated => "content-length",
            Self::LengthAndEncoding
            | Self::TransferEncoding
            | Self::TransferEncodingInHttp10
            | Self::TransferCoding(_) => "transfer-encoding",
            Self::Expectation => "expect",
            Self::UpgradeWithBody => "upgrade",
            Self::ChunkSize | Self::ChunkLineTooLong | Self::ChunkEnd => "body",
            Self::TrailersTooLarge(_) => "trailers",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BareLineFeed => f.write_str("every line ends in CRLF, and one ends in LF alone"),
            Self::EmptyLines(max) => write!(f, "at most {max} empty lines may precede a request"),
            Self::RequestLine => {
                f.write_str("the request line is a method, a target and HTTP/1.1, one space apart")
            }
            Self::RequestLineTooLong(max) => {
                write!(f, "a request line has at most {max} bytes: shorten the target")
            }
            Self::Target => f.write_str(
                "the request target is a path, or a URL that begins with http:// or https:// and a \
                 host; percent-encode what is not printable ASCII, and leave the fragment out",
            ),
            Self::Version => f.write_str("on this connection HTTP/1.1 and HTTP/1.0 are spoken"),
            Self::Connect => f.write_str("the gateway opens no tunnels"),
            Self::HeadTooLarge(max) => write!(f, "a request's head has at most {max} bytes"),
            Self::TooManyFields(max) => write!(f, "a request has at most {max} field lines"),
            Self::FoldedLine => f.write_str("a field line begins with its name, not with a space"),
            Self::SpaceBeforeColon => f.write_str("a field's name is directly followed by a colon"),
            Self::FieldName => f.write_str("a field line is a name, which is a token, and a colon"),
            Self::FieldValue(name) => write!(f, "there is a control character in {name}"),
            Self::HostMissing => f.write_str("a request of HTTP/1.1 names its host"),
            Self::HostRepeated => f.write_str("a request has one host field"),
            Self::HostInvalid => f.write_str("host is a name or an address, and maybe a port"),
            Self::HostDiffers => f.write_str("host differs from the host in the request target"),
            Self::ContentLength => f.write_str("content-length is a number in decimal digits"),
            Self::ContentLengthRepeated => f.write_str("a request has one content-length"),
            Self::LengthAndEncoding => {
                f.write_str("a request has either a content-length or a transfer-encoding")
            }
            Self::TransferEncoding => f.write_str("the transfer-encoding is chunked, once"),
            Self::TransferEncodingInHttp10 => f.write_str("HTTP/1.0 has no transfer-encoding"),
            Self::TransferCoding(codings) => {
                write!(f, "the transfer coding {codings} is not supported: send chunked alone")
            }
            Self::Expectation => f.write_str("the only expectation is 100-continue"),
            Self::UpgradeWithBody => f.write_str("a request for an upgrade has no body"),
            Self::ChunkSize => f.write_str(
                "a chunk begins with its size in at most 16 hexadecimal digits, and a line end",
            ),
            Self::ChunkLineTooLong => {
                f.write_str("the extensions of a chunk, or of all chunks, are too long: send none")
            }
            Self::ChunkEnd => f.write_str("a chunk's data is as long as its size says"),
            Self::TrailersTooLarge(max) => write!(f, "trailers have at most {max} bytes"),
            Self::Trailer(name) => write!(f, "{name} belongs into the head, not into a trailer"),
        }
    }
}

impl std::error::Error for Fault {}
