//! A disk in memory that forgets what was not synced, in part, in pieces and out of order. For tests alone.
//!
//! A power cut keeps of each unsynced write all, nothing or a random choice of its sectors (512 bytes or 4 KiB), and of
//! unsynced names a random choice. A disk made with [`SimDisk::lying`] calls a sync done without doing it: the tests must notice.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use peabiru_proto::random::{Random as _, SeededRandom};

use super::{Disk, DiskFile};

/// A simulated disk; clones share it.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

/// What can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Writing to a file.
    Write,
    /// Syncing a file or folder.
    Sync,
}

/// Whether a sync does what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syncs {
    Honest,
    Lying,
}

struct State {
    random: SeededRandom,
    syncs: Syncs,
    /// Names that a power cut cannot take.
    durable_names: BTreeMap<PathBuf, Arc<Mutex<Content>>>,
    names: BTreeMap<PathBuf, Arc<Mutex<Content>>>,
    /// Writes and syncs left until the power fails; none: it does not.
    power: Option<u64>,
    /// The one that fails, how many of its kind go well before, and how it fails.
    refused: Option<(Operation, u64, io::ErrorKind)>,
    free_bytes: u64,
    locked: Arc<()>,
}

#[derive(Default, Clone)]
struct Content {
    durable: Vec<u8>,
    current: Vec<u8>,
    /// Unsynced writes, as offset and length, in order.
    unsynced: Vec<(usize, usize)>,
}

impl SimDisk {
    /// An empty disk whose faults follow from the seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with(seed, Syncs::Honest)
    }

    /// The same, but every sync is a lie.
    #[must_use]
    pub fn lying(seed: u64) -> Self {
        Self::with(seed, Syncs::Lying)
    }

    fn with(seed: u64, syncs: Syncs) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: SeededRandom::new(seed),
            syncs,
            durable_names: BTreeMap::new(),
            names: BTreeMap::new(),
            power: None,
            refused: None,
            free_bytes: u64::MAX,
            locked: Arc::new(()),
        })))
    }

    /// Lets the power fail after this many more writes and syncs.
    pub fn fail_power_after(&self, operations: u64) {
        self.state().power = Some(operations);
    }

    /// Lets one operation fail, after this many more of its kind. A write that fails changes nothing; what a failed
    /// sync was to make durable is dropped, as the kernel may do.
    pub fn refuse_after(&self, operation: Operation, others: u64, kind: io::ErrorKind) {
        self.state().refused = Some((operation, others, kind));
    }

    /// Sets how much space is left.
    pub fn set_free_bytes(&self, bytes: u64) {
        self.state().free_bytes = bytes;
    }

    /// Cuts the power, if it has not failed yet, and starts again with what survived.
    pub fn restart(&self) {
        let mut state = self.state();
        let State { random, names, durable_names, .. } = &mut *state;
        let mut survivors = BTreeMap::new();
        for (path, content) in durable_names.iter() {
            let renamed = names.iter().find(|(_, other)| Arc::ptr_eq(other, content));
            match renamed {
                // As it was, or not synced since it got another name: it has one of the two.
                Some((new, _)) if new == path || chance(random, 2) => {
                    survivors.insert(new.clone(), Arc::clone(content));
                }
                // A name that was taken away, and whose folder was not synced since, may be back.
                None if chance(random, 2) => {}
                Some(_) | None => {
                    survivors.insert(path.clone(), Arc::clone(content));
                }
            }
        }
        for (path, content) in names.iter() {
            let is_new = !durable_names.values().any(|durable| Arc::ptr_eq(durable, content));
            if is_new && chance(random, 2) {
                survivors.insert(path.clone(), Arc::clone(content));
            }
        }
        for content in survivors.values() {
            let mut content = content.lock().unwrap_or_else(PoisonError::into_inner);
            content.cut(random);
        }
        state.names = survivors.clone();
        state.durable_names = survivors;
        state.power = None;
        state.refused = None;
        state.locked = Arc::new(());
    }

    /// Flips bits of one byte of a file, durably.
    pub fn damage(&self, path: &Path, offset: u64, flip: u8) {
        let state = self.state();
        let mut content = state.names[path].lock().unwrap_or_else(PoisonError::into_inner);
        let at = usize::try_from(offset).expect("files of tests are small");
        content.current[at] ^= flip;
        content.durable[at] ^= flip;
    }

    /// The bytes of a file.
    #[must_use]
    pub fn content(&self, path: &Path) -> Vec<u8> {
        let state = self.state();
        state.names[path].lock().unwrap_or_else(PoisonError::into_inner).current.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn power(&mut self) -> io::Result<()> {
        match &mut self.power {
            None => Ok(()),
            Some(0) => Err(io::Error::other("the power is off")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn may(&mut self, asked: Operation) -> io::Result<()> {
        match &mut self.refused {
            Some((operation, 0, kind)) if *operation == asked => {
                let kind = *kind;
                self.refused = None;
                Err(kind.into())
            }
            Some((operation, others, _)) if *operation == asked => {
                *others -= 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Content {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if self.current.len() < end {
            self.current.resize(end, 0);
        }
        self.current[offset..end].copy_from_slice(bytes);
        self.unsynced.push((offset, bytes.len()));
    }

    /// Only what was written since: pages that a failed sync dropped stay lost.
    fn sync(&mut self) {
        if self.durable.len() < self.current.len() {
            self.durable.resize(self.current.len(), 0);
        }
        for (offset, length) in std::mem::take(&mut self.unsynced) {
            self.durable[offset..offset + length].copy_from_slice(&self.current[offset..offset + length]);
        }
    }

    fn cut(&mut self, random: &SeededRandom) {
        for (offset, length) in std::mem::take(&mut self.unsynced) {
            let sector_bytes = SECTOR_BYTES[usize::from(chance(random, 2))];
            let fate = roll(random, 4);
            let mut at = offset;
            while at < offset + length {
                let end = ((at / sector_bytes + 1) * sector_bytes).min(offset + length);
                // All, nothing, or each sector on its own.
                if fate == 0 || (fate > 1 && chance(random, 2)) {
                    if self.durable.len() < end {
                        self.durable.resize(end, 0);
                    }
                    self.durable[at..end].copy_from_slice(&self.current[at..end]);
                }
                at = end;
            }
        }
        self.current = self.durable.clone();
    }
}

struct SimFile {
    disk: SimDisk,
    content: Arc<Mutex<Content>>,
}

impl SimFile {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for SimDisk {
    fn create_folder(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let content = Arc::clone(self.state().names.entry(path.to_owned()).or_default());
        Ok(Box::new(SimFile { disk: self.clone(), content }))
    }

    fn open_existing(&self, path: &Path) -> io::Result<Option<Box<dyn DiskFile>>> {
        let found = self.state().names.get(path).map(Arc::clone);
        Ok(found.map(|content| Box::new(SimFile { disk: self.clone(), content }) as Box<dyn DiskFile>))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        let inside = state.names.keys().filter(|path| path.parent() == Some(folder));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.power()?;
        let content = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.power()?;
        state.names.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.power()?;
        state.may(Operation::Sync)?;
        if state.syncs == Syncs::Honest {
            let State { names, durable_names, .. } = &mut *state;
            let (gone, left): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(durable_names)
                .into_iter()
                .partition(|(path, _)| path.parent() == Some(folder) && !names.contains_key(path));
            *durable_names = left;
            // A renaming is one step, also on the disk: the old name goes with the coming of the new one.
            for content in gone.into_values() {
                let renamed = names.iter().find(|(_, other)| Arc::ptr_eq(other, &content));
                durable_names.extend(renamed.map(|(path, _)| (path.clone(), content)));
            }
            let inside: Vec<_> = state
                .names
                .iter()
                .filter(|(path, _)| path.parent() == Some(folder))
                .map(|(path, content)| (path.clone(), Arc::clone(content)))
                .collect();
            state.durable_names.extend(inside);
        }
        Ok(())
    }

    fn lock(&self, _folder: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let state = self.state();
        if Arc::strong_count(&state.locked) > 1 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Arc::clone(&state.locked)))
    }

    fn free_bytes(&self, _folder: &Path) -> io::Result<u64> {
        Ok(self.state().free_bytes)
    }
}

impl DiskFile for SimFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let content = self.content();
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = content.current.get(start..start + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let powered = {
            let mut state = self.disk.state();
            state.may(Operation::Write)?;
            state.power()
        };
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        // The write during which the power fails may have reached the disk in part.
        self.content().write(bytes, offset);
        powered
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.content().current.len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        let (syncs, may) = {
            let mut state = self.disk.state();
            state.power()?;
            (state.syncs, state.may(Operation::Sync))
        };
        if let Err(error) = may {
            // Clean pages that never reached the disk: they are read until the power is cut.
            self.content().unsynced.clear();
            return Err(error);
        }
        if syncs == Syncs::Honest {
            self.content().sync();
        }
        Ok(())
    }
}

fn chance(random: &SeededRandom, one_in: u8) -> bool {
    roll(random, one_in) == 0
}

fn roll(random: &SeededRandom, below: u8) -> u8 {
    let mut byte = [0];
    random.fill(&mut byte);
    byte[0] % below
}

const SECTOR_BYTES: [usize; 2] = [512, 4096];
