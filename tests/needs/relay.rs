//! A network between a client and the gateway that can fail: with a word, as when a cable is pulled out, or
//! without one.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Passes on connections until its process ends.
pub(crate) struct Relay {
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    is_cut: bool,
    /// Connections with a number below it are silent.
    silent_below: usize,
    clients: Vec<TcpStream>,
}

impl Relay {
    /// To this server.
    pub(crate) fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // What fails here is a connection that its client sees closed.
                let _ = accept(&client, server, &shared);
            }
        });
        Self { address, state }
    }

    /// Nothing comes through the connections that there are; new ones are as before.
    pub(crate) fn silence(&self) {
        let mut state = lock(&self.state);
        state.silent_below = state.clients.len();
    }

    /// Every connection is closed, and new ones are until it is mended.
    pub(crate) fn cut(&self) {
        let mut state = lock(&self.state);
        state.is_cut = true;
        for client in &state.clients {
            // It may be closed already.
            let _ = client.shutdown(Shutdown::Both);
        }
    }

    /// New connections are passed on again.
    pub(crate) fn mend(&self) {
        lock(&self.state).is_cut = false;
    }
}

fn accept(
    client: &TcpStream,
    server: SocketAddr,
    shared: &Arc<Mutex<State>>,
) -> std::io::Result<()> {
    let mut state = lock(shared);
    if state.is_cut {
        return Ok(());
    }
    let number = state.clients.len();
    state.clients.push(client.try_clone()?);
    drop(state);
    let server = TcpStream::connect(server)?;
    for (from, to) in [(client, &server), (&server, client)] {
        let (from, to, shared) = (from.try_clone()?, to.try_clone()?, Arc::clone(shared));
        thread::spawn(move || pass_on(from, to, || number < lock(&shared).silent_below));
    }
    Ok(())
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, is_silent: impl Fn() -> bool) {
    let mut part = [0; 16384];
    while let Ok(length @ 1..) = from.read(&mut part) {
        if !is_silent() && to.write_all(&part[..length]).is_err() {
            break;
        }
    }
    if !is_silent() {
        let _ = to.shutdown(Shutdown::Both);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
