//! A disk in memory that loses power, fills up, fails, and stops in the middle of anything. It keeps
//! what was synced apart from what was only written, in pieces of 512 bytes, and names apart from
//! contents. For tests only.

mod contents;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::rc::Rc;

use fastrand::Rng;

use super::disk::{Disk, DiskFile, QUARANTINE};
use contents::{Change, Inode, change_names, pieces};

/// One process's view of the disk. It has the lock until it is dropped.
pub(super) struct SimDisk {
    machine: Machine,
    holds_lock: bool,
}

/// What stays when a process ends.
#[derive(Clone)]
pub(super) struct Machine(Rc<RefCell<State>>);

pub(super) struct SimFile {
    machine: Machine,
    inode: usize,
}

struct State {
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    /// What has happened to names since they were synced; each entry happens as a whole.
    name_changes: Vec<Vec<(String, Option<usize>)>>,
    inodes: Vec<Inode>,
    locked: bool,
    rng: Rng,
    /// Changes that are still carried out before the process is killed in the middle of one.
    fuse: Option<u64>,
    dead: bool,
    faults: Faults,
    syncs: u64,
}

/// What goes wrong.
#[derive(Clone, Copy, Default)]
pub(super) struct Faults {
    /// Calls do less than asked, and are interrupted.
    pub(super) short: bool,
    /// No room for anything new, and sometimes none for what is reserved.
    pub(super) full: bool,
    /// Syncs fail.
    pub(super) sync: bool,
}

/// What a call may do before the process is killed.
enum Step {
    Whole,
    Half,
}

impl Machine {
    pub(super) fn new(seed: u64) -> Self {
        Self(Rc::new(RefCell::new(State {
            names: BTreeMap::new(),
            synced_names: BTreeMap::new(),
            name_changes: Vec::new(),
            inodes: Vec::new(),
            locked: false,
            rng: Rng::with_seed(seed),
            fuse: None,
            dead: false,
            faults: Faults::default(),
            syncs: 0,
        })))
    }

    /// A process starts.
    pub(super) fn disk(&self) -> SimDisk {
        SimDisk { machine: self.clone(), holds_lock: false }
    }

    /// The process will be killed in the middle of the change after so many.
    pub(super) fn kill_after(&self, changes: u64) {
        self.0.borrow_mut().fuse = Some(changes);
    }

    /// Whether it was killed.
    pub(super) fn is_dead(&self) -> bool {
        self.0.borrow().dead
    }

    /// The next process can run.
    pub(super) fn revive(&self) {
        let mut state = self.0.borrow_mut();
        state.dead = false;
        state.fuse = None;
        state.faults = Faults::default();
    }

    pub(super) fn set_faults(&self, faults: Faults) {
        self.0.borrow_mut().faults = faults;
    }

    /// Chance starts anew.
    pub(super) fn reseed(&self, seed: u64) {
        self.0.borrow_mut().rng = Rng::with_seed(seed);
    }

    pub(super) fn syncs(&self) -> u64 {
        self.0.borrow().syncs
    }

    /// The power goes: what was not synced is there or not, piece by piece and name by name.
    pub(super) fn power_cut(&self) {
        let mut state = self.0.borrow_mut();
        let state = &mut *state;
        let odds = [0.0, 0.1, 0.5, 0.9, 1.0][state.rng.usize(..5)];
        let mut names = state.synced_names.clone();
        for change in state.name_changes.drain(..) {
            if state.rng.f64() < odds {
                change_names(&mut names, &change);
            }
        }
        state.names.clone_from(&names);
        state.synced_names = names;
        for inode in &mut state.inodes {
            for change in inode.changes.drain(..) {
                let pieces = match change {
                    Change::Length(_) => vec![change],
                    Change::Bytes(at, bytes) => pieces(at, &bytes),
                };
                for piece in pieces {
                    if state.rng.f64() < odds {
                        piece.apply(&mut inode.synced);
                    }
                }
            }
            inode.live.clone_from(&inode.synced);
        }
    }

    /// The bytes of a file.
    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        let state = self.0.borrow();
        state.inodes[state.names[name]].live.clone()
    }

    /// Makes a file what it should not be, durably, behind everyone's back; `None` removes it.
    pub(super) fn tamper(&self, name: &str, bytes: Option<Vec<u8>>) {
        let mut state = self.0.borrow_mut();
        let Some(live) = bytes else {
            state.names.remove(name);
            state.synced_names.remove(name);
            return;
        };
        let inode = state.inodes.len();
        state.inodes.push(Inode { synced: live.clone(), live, changes: Vec::new() });
        state.names.insert(name.to_owned(), inode);
        state.synced_names.insert(name.to_owned(), inode);
    }

    /// A second disk with the same files, on its own from now on.
    pub(super) fn copy(&self) -> Self {
        let state = self.0.borrow();
        Self(Rc::new(RefCell::new(State {
            names: state.names.clone(),
            synced_names: state.synced_names.clone(),
            name_changes: state.name_changes.clone(),
            inodes: state.inodes.clone(),
            locked: false,
            rng: state.rng.clone(),
            fuse: None,
            dead: false,
            faults: Faults::default(),
            syncs: 0,
        })))
    }

    /// Every name.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.borrow().names.keys().cloned().collect()
    }
}

impl State {
    /// Counts a change, and says how much of it happens.
    fn step(&mut self) -> io::Result<Step> {
        if self.dead {
            return Err(killed());
        }
        match &mut self.fuse {
            Some(0) => {
                self.dead = true;
                Ok(Step::Half)
            }
            Some(left) => {
                *left -= 1;
                Ok(Step::Whole)
            }
            None => Ok(Step::Whole),
        }
    }

    /// Carries out something that happens whole or not at all.
    fn atomically(&mut self, change: impl FnOnce(&mut Self)) -> io::Result<()> {
        let step = self.step()?;
        if matches!(step, Step::Whole) || self.rng.bool() {
            change(self);
        }
        if matches!(step, Step::Half) { Err(killed()) } else { Ok(()) }
    }

    fn change_names(&mut self, change: Vec<(String, Option<usize>)>) {
        change_names(&mut self.names, &change);
        self.name_changes.push(change);
    }

    fn change(&mut self, inode: usize, change: Change) {
        let inode = &mut self.inodes[inode];
        change.apply(&mut inode.live);
        inode.changes.push(change);
    }

    fn inode(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

fn killed() -> io::Error {
    io::Error::other("killed")
}

fn full() -> io::Error {
    ErrorKind::StorageFull.into()
}

impl Drop for SimDisk {
    fn drop(&mut self) {
        if self.holds_lock {
            self.machine.0.borrow_mut().locked = false;
        }
    }
}

impl SimDisk {
    fn file(&self, inode: usize) -> SimFile {
        SimFile { machine: self.machine.clone(), inode }
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn path(&self) -> String {
        "simulated".to_owned()
    }

    fn lock(&mut self) -> io::Result<bool> {
        let mut state = self.machine.0.borrow_mut();
        let free = !state.locked;
        state.locked = true;
        self.holds_lock |= free;
        Ok(free)
    }

    fn list(&self, quarantine: bool) -> io::Result<Vec<String>> {
        let state = self.machine.0.borrow();
        let names = state.names.keys().filter_map(|name| match name.strip_prefix(QUARANTINE) {
            Some(name) => quarantine.then(|| name.to_owned()),
            None => (!quarantine).then(|| name.clone()),
        });
        Ok(names.collect())
    }

    fn open(&self, name: &str) -> io::Result<SimFile> {
        let inode = self.machine.0.borrow().inode(name)?;
        Ok(self.file(inode))
    }

    fn create(&self, name: &str) -> io::Result<SimFile> {
        let mut state = self.machine.0.borrow_mut();
        if state.faults.full {
            return Err(full());
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.atomically(|state| state.change_names(vec![(name.to_owned(), Some(inode))]))?;
        drop(state);
        Ok(self.file(inode))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.machine.0.borrow_mut();
        let inode = state.inode(from)?;
        let change = vec![(from.to_owned(), None), (to.to_owned(), Some(inode))];
        state.atomically(|state| state.change_names(change))
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.machine.0.borrow_mut();
        if state.names.contains_key(to) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let inode = state.inode(from)?;
        state.atomically(|state| state.change_names(vec![(to.to_owned(), Some(inode))]))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.machine.0.borrow_mut();
        state.inode(name)?;
        state.atomically(|state| state.change_names(vec![(name.to_owned(), None)]))
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.machine.0.borrow_mut();
        state.atomically(|state| {
            state.name_changes.clear();
            state.synced_names.clone_from(&state.names);
        })
    }
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.machine.0.borrow().inodes[self.inode].live.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut state = self.machine.0.borrow_mut();
        let limit = if state.faults.short { state.rng.usize(1..600) } else { usize::MAX };
        if state.faults.short && state.rng.u8(..) < 20 {
            return Err(ErrorKind::Interrupted.into());
        }
        let bytes = state.inodes[self.inode].live.get(at as usize..).unwrap_or_default();
        let count = bytes.len().min(buffer.len()).min(limit);
        buffer[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        let mut state = self.machine.0.borrow_mut();
        if state.faults.short && state.rng.u8(..) < 20 {
            return Err(ErrorKind::Interrupted.into());
        }
        if state.faults.full && state.rng.bool() {
            return Err(full());
        }
        let step = state.step()?;
        let count = match step {
            Step::Half => state.rng.usize(..=bytes.len()),
            Step::Whole if state.faults.short || state.faults.full => {
                state.rng.usize(1..=bytes.len())
            }
            Step::Whole => bytes.len(),
        };
        state.change(self.inode, Change::Bytes(at as usize, bytes[..count].to_vec()));
        if matches!(step, Step::Half) { Err(killed()) } else { Ok(count) }
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut state = self.machine.0.borrow_mut();
        if state.faults.full {
            return Err(full());
        }
        let inode = self.inode;
        state.atomically(|state| state.change(inode, Change::Length(length as usize)))
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let inode = self.inode;
        let mut state = self.machine.0.borrow_mut();
        state.atomically(|state| state.change(inode, Change::Length(length as usize)))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.machine.0.borrow_mut();
        if state.faults.sync {
            return Err(io::Error::from_raw_os_error(5));
        }
        state.syncs += 1;
        let inode = self.inode;
        state.atomically(|state| {
            let inode = &mut state.inodes[inode];
            inode.changes.clear();
            inode.synced.clone_from(&inode.live);
        })
    }
}
