//! The corpus: `corpus/*.txt`, a family a file. A case is the lines behind its name, each with a CRLF:
//!
//! ```text
//! # What the family is about.
//! === the case's name
//! POST /a HTTP/1.1
//! host: a.test
//! content-length: 5
//!
//! hello\
//! ```
//!
//! A `\` at a line's end leaves the CRLF out. Within a line `\r`, `\n`, `\t`, `\0`, `\\`, `\xHH` are
//! bytes, `\e` is nothing (an empty line that is not one), and `\{300*x}` is `x` 300 times.
//! A `---` begins a list of values: the case is made once for each, in the place of its `{}`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// One thing to send.
#[derive(Debug)]
pub(crate) struct Case {
    /// The file's name.
    pub(crate) family: String,
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// Every case, families and cases in order.
pub(crate) fn corpus() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential/corpus");
    let files = fs::read_dir(folder).expect("the corpus is a folder");
    let mut files: Vec<_> = files.map(|file| file.expect("it can be listed").path()).collect();
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let text = fs::read_to_string(path).expect("a family is UTF-8");
        let family = path.file_stem().expect("a file has a name").to_string_lossy();
        cases(&family, &text)
    };
    let cases: Vec<Case> = files.iter().flat_map(read).collect();
    let names: BTreeSet<_> = cases.iter().map(|case| (&case.family, &case.name)).collect();
    assert_eq!(names.len(), cases.len(), "two cases of one family have the same name");
    cases
}

fn cases(family: &str, text: &str) -> Vec<Case> {
    let mut blocks = text.split("=== ");
    let about = blocks.next().unwrap_or_default();
    assert!(about.lines().all(|line| line.starts_with('#')), "{family}: no comment at the top");
    let case = |name: &str, template: &str, value: &str| {
        let bytes = template.lines().flat_map(|line| match line.strip_suffix('\\') {
            Some(open) => unescape(&open.replace("{}", value)),
            None => unescape(&(line.replace("{}", value) + "\\r\\n")),
        });
        let name = name.replace("{}", value);
        Case { family: family.to_owned(), name, bytes: bytes.collect() }
    };
    let expand = |block: &str| {
        let (name, rest) = block.split_once('\n').expect("a case has lines");
        match rest.split_once("---\n") {
            Some((template, values)) => {
                assert!(name.contains("{}"), "{family}: {name} does not name its value");
                values.lines().map(|value| case(name, template, value)).collect()
            }
            None => vec![case(name, rest, "{}")],
        }
    };
    blocks.flat_map(expand).collect()
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = &rest[at + 1..];
        let (made, length) = match escape.as_bytes().first() {
            Some(b'r') => (b"\r".to_vec(), 1),
            Some(b'n') => (b"\n".to_vec(), 1),
            Some(b't') => (b"\t".to_vec(), 1),
            Some(b'0') => (b"\0".to_vec(), 1),
            Some(b'\\') => (b"\\".to_vec(), 1),
            Some(b'e') => (Vec::new(), 1),
            Some(b'x') => {
                let byte = escape.get(1..3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
                (vec![byte.unwrap_or_else(|| panic!("no escape: {rest:?}"))], 3)
            }
            Some(b'{') => {
                let end = escape.find('}').unwrap_or_else(|| panic!("no escape: {rest:?}"));
                let (count, what) = escape[1..end].split_once('*').expect("COUNT*TEXT");
                let count = count.parse().expect("a count is a number");
                (unescape(what).repeat(count), end + 1)
            }
            _ => panic!("no escape: {rest:?}"),
        };
        bytes.extend(made);
        rest = &escape[length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

#[test]
fn a_case_is_its_lines_and_a_list_makes_a_case_of_each_value() {
    let text =
        "# About.\n=== one\nGET / HTTP/1.1\n\nab\\\n=== v {}\nx:{}\\n\n---\n\\x41\n\\{3*\\t}\n";
    let cases = cases("f", text);
    let found: Vec<(&str, &[u8])> =
        cases.iter().map(|case| (case.name.as_str(), &case.bytes[..])).collect();
    let expected: [(&str, &[u8]); 3] = [
        ("one", b"GET / HTTP/1.1\r\n\r\nab"),
        ("v \\x41", b"x:A\n\r\n"),
        ("v \\{3*\\t}", b"x:\t\t\t\n\r\n"),
    ];
    assert_eq!(found, expected);
}
