//! A small app server behind the gateway: answers each request by a function, on as many connections
//! as there are, and remembers what it was asked.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::deadline::Deadline;
use super::origin::{Origin, Request};

/// An app server that runs until it is dropped.
#[derive(Debug)]
pub struct App {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl App {
    /// Answers with the bytes that `answer` makes of each request, and closes.
    pub fn new(answer: impl Fn(&Request) -> String + Send + Sync + 'static) -> Self {
        let origin = Origin::listen();
        let address = origin.address();
        let (asked, stop) = (Arc::<Mutex<Vec<Request>>>::default(), Arc::<AtomicBool>::default());
        let (log, stopped, answer) = (Arc::clone(&asked), Arc::clone(&stop), Arc::new(answer));
        let accepting = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let deadline = Deadline::after(Duration::from_millis(20));
                let Some(mut connection) = origin.accept_within(deadline) else { continue };
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                thread::spawn(move || {
                    let request = connection.read_request();
                    log.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
                    connection.send(&answer(&request));
                });
            }
        });
        Self { address, asked, stop, accepting: Some(accepting) }
    }

    /// As the configuration has it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(accepting) = self.accepting.take() {
            // It fails only if the thread panicked, which the test has seen.
            let _ = accepting.join();
        }
    }
}

/// A complete answer.
pub fn answer(status: &str, fields: &[(&str, &str)], body: &str) -> String {
    let mut head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    format!("{head}connection: close\r\n\r\n{body}")
}

/// 200 with JSON.
pub fn json(body: &str) -> String {
    answer("200 OK", &[("content-type", "application/json")], body)
}
