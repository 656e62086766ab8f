//! What the request guard adds to a request: its head, and its body in reads of 64 KiB.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use tidegate::http::guard::{Guard, Limits};

use crate::inputs::DATA_BYTES;

const READ_BYTES: usize = 64 * 1024;

/// As a browser sends it.
const BROWSER: &str = "GET /events?topic=board.42 HTTP/1.1\r\n\
    Host: gateway.example.test\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: text/event-stream\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://app.example.test/boards/42\r\n\
    Origin: https://app.example.test\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
    Sec-Fetch-Dest: empty\r\n\
    Sec-Fetch-Mode: cors\r\n\
    Sec-Fetch-Site: same-site\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\r\n";

fn head(framing: &str) -> String {
    format!("POST /topics/board.42 HTTP/1.1\r\nhost: gateway.test\r\n{framing}\r\n\r\n")
}

pub(crate) fn bench(c: &mut Criterion) {
    let publish =
        format!("{}{}", head(&format!("content-length: {DATA_BYTES}")), "x".repeat(DATA_BYTES));
    let mut group = c.benchmark_group("guard");
    for (name, requests) in [("a browser's head", BROWSER), ("a publish request", &publish)] {
        let mut guard = Guard::new(Limits::default());
        group.throughput(Throughput::Bytes(requests.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| assert_eq!(guard.inspect(black_box(requests.as_bytes())), requests.len()));
        });
    }

    let read = vec![b'x'; READ_BYTES];
    group.throughput(Throughput::Bytes(READ_BYTES as u64));
    group.bench_function("64 KiB of a body of known length", |b| {
        let mut guard = Guard::new(Limits::default());
        let head = head(&format!("content-length: {}", i64::MAX));
        assert_eq!(guard.inspect(head.as_bytes()), head.len());
        b.iter(|| assert_eq!(guard.inspect(black_box(&read)), READ_BYTES));
    });
    group.bench_function("64 KiB of a body in chunks of 4 KiB", |b| {
        let mut guard = Guard::new(Limits::default());
        let head = head("transfer-encoding: chunked");
        assert_eq!(guard.inspect(head.as_bytes()), head.len());
        let chunks = format!("1000\r\n{}\r\n", "x".repeat(4096)).repeat(16);
        b.iter(|| assert_eq!(guard.inspect(black_box(chunks.as_bytes())), chunks.len()));
    });
    group.finish();
}
