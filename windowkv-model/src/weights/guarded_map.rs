//! A read-only file mapping that survives the loss of its file.
//!
//! Touching a mapped page that the file no longer has (it was truncated) or that the disk cannot
//! deliver raises SIGBUS, which ends a process. Here, on Linux and macOS, a handler of that signal
//! asks a registry whether the address belongs to one of our mappings. If so, it marks the mapping
//! as faulted and puts zero pages from the address to the mapping's end, and the reader goes on;
//! [`GuardedMap::check`] then reports the loss, so whoever reads zeros learns that they are void. Any
//! other SIGBUS goes to the handler that was installed before.
//!
//! A truncation inside the last page raises nothing, and so does a file that is written over. The
//! check therefore also compares the file's length and modification time with those at opening.
#![allow(unsafe_code)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use memmap2::{Mmap, MmapOptions};

use crate::error::{Error, Result};
use crate::files::open_regular;

/// A mapped file.
///
/// The fields drop in this order: the registration must end before the address range is given back.
#[derive(Debug)]
pub(crate) struct GuardedMap {
    registration: registry::Registration,
    map: Mmap,
    file: File,
    path: PathBuf,
    modified: Option<SystemTime>,
}

impl GuardedMap {
    /// Maps the regular file at `path`, as long as it is now.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NotAFile`], [`Error::TooManyMappings`].
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = open_regular(path)?;
        let metadata = file.metadata().map_err(|e| Error::io(path, "read", e))?;
        let too_long = |_| {
            let reason = "it is longer than the address space";
            Error::io(path, "map", std::io::Error::other(reason))
        };
        let len = usize::try_from(metadata.len()).map_err(too_long)?;
        // SAFETY: the mapping is read-only and private. Another process that truncates the file
        // meets the SIGBUS handler; one that writes into it changes bytes that are only ever read
        // as plain numbers, every pattern of which is valid, and `check` reports it.
        let map = unsafe { MmapOptions::new().len(len).map(&file) };
        let map = map.map_err(|e| Error::io(path, "map", e))?;
        registry::install().map_err(|e| Error::io(path, "guard", e))?;
        let start = map.as_ptr() as usize;
        let registration = registry::Registration::new(start, map.len());
        let registration = registration.ok_or_else(|| Error::TooManyMappings {
            path: path.to_owned(),
            limit: registry::MAX_MAPPINGS,
        })?;
        Ok(GuardedMap {
            registration,
            map,
            file,
            path: path.to_owned(),
            modified: metadata.modified().ok(),
        })
    }

    /// The mapped bytes. Zeros stand for what was lost; see [`GuardedMap::check`].
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Whether every byte read so far was the file's: one `fstat`, no reading.
    ///
    /// # Errors
    /// [`Error::WeightsChanged`] if the file was truncated, could not be read, or was written to.
    pub(crate) fn check(&self) -> Result<()> {
        let changed = |reason| Error::WeightsChanged {
            path: self.path.clone(),
            reason,
        };
        if self.registration.faulted() {
            return Err(changed("was truncated or could not be read"));
        }
        let metadata = self.file.metadata();
        let metadata = metadata.map_err(|e| Error::io(&self.path, "read", e))?;
        if metadata.len() < self.map.len() as u64 {
            return Err(changed("was truncated"));
        }
        if metadata.len() > self.map.len() as u64 || metadata.modified().ok() != self.modified {
            return Err(changed("was modified"));
        }
        Ok(())
    }
}

/// The address ranges that the signal handler looks after.
#[cfg(any(target_os = "linux", target_os = "macos"))]
mod registry {
    use std::io;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

    use libc::{c_int, c_void, siginfo_t};

    /// The greatest number of mappings that are guarded at one time.
    pub(super) const MAX_MAPPINGS: usize = 1024;

    /// One address range. The handler must not block, so a reader takes a consistent pair of
    /// `start` and `end` by finding the same even `sequence` before and after. A range in change is
    /// never the one of a faulting reader, whose mapping is alive, so it can be passed over.
    struct Slot {
        claimed: AtomicBool,
        sequence: AtomicUsize,
        start: AtomicUsize,
        end: AtomicUsize,
        faulted: AtomicBool,
    }

    static SLOTS: [Slot; MAX_MAPPINGS] = [const {
        Slot {
            claimed: AtomicBool::new(false),
            sequence: AtomicUsize::new(0),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            faulted: AtomicBool::new(false),
        }
    }; MAX_MAPPINGS];

    static PAGE_BYTES: AtomicUsize = AtomicUsize::new(0);

    impl Slot {
        fn set(&self, start: usize, end: usize) {
            self.sequence.fetch_add(1, SeqCst);
            self.start.store(start, SeqCst);
            self.end.store(end, SeqCst);
            self.sequence.fetch_add(1, SeqCst);
        }

        /// `end` if `address` is in the range.
        fn end_of(&self, address: usize) -> Option<usize> {
            let sequence = self.sequence.load(SeqCst);
            let (start, end) = (self.start.load(SeqCst), self.end.load(SeqCst));
            let consistent = sequence.is_multiple_of(2) && sequence == self.sequence.load(SeqCst);
            (consistent && (start..end).contains(&address)).then_some(end)
        }
    }

    /// A range in the registry, until it is dropped.
    #[derive(Debug)]
    pub(super) struct Registration {
        index: usize,
    }

    impl Registration {
        /// Registers `len` bytes from address `start`; `None` if the registry is full.
        pub(super) fn new(start: usize, len: usize) -> Option<Self> {
            let free = |slot: &Slot| !slot.claimed.swap(true, SeqCst);
            let index = SLOTS.iter().position(free)?;
            let end = (start + len).next_multiple_of(PAGE_BYTES.load(SeqCst));
            SLOTS[index].faulted.store(false, SeqCst);
            SLOTS[index].set(start, end);
            Some(Registration { index })
        }

        /// Whether a page of the range was lost.
        pub(super) fn faulted(&self) -> bool {
            SLOTS[self.index].faulted.load(SeqCst)
        }
    }

    impl Drop for Registration {
        fn drop(&mut self) {
            SLOTS[self.index].set(0, 0);
            SLOTS[self.index].claimed.store(false, SeqCst);
        }
    }

    /// What SIGBUS did before.
    static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

    /// Installs the handler, once in a process.
    pub(super) fn install() -> io::Result<()> {
        static RESULT: OnceLock<Result<(), i32>> = OnceLock::new();
        RESULT
            .get_or_init(|| install_now().map_err(|e| e.raw_os_error().unwrap_or(0)))
            .map_err(io::Error::from_raw_os_error)
    }

    fn install_now() -> io::Result<()> {
        // SAFETY: sysconf takes no pointers.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let page = usize::try_from(page).map_err(|_| io::Error::last_os_error())?;
        PAGE_BYTES.store(page, SeqCst);

        // SAFETY: sigaction is a plain C struct for which all zeros is a valid value.
        let mut previous: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: a null new action only asks; `previous` is valid for the answer.
        if unsafe { libc::sigaction(libc::SIGBUS, std::ptr::null(), &mut previous) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // Kept before ours is in place, because ours reads it.
        let _ = PREVIOUS.set(previous);

        let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = on_sigbus;
        // SAFETY: as above; the fields that matter are set below.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as libc::sighandler_t;
        // On the alternate stack: Rust's own handler, to which we pass on, reports stack overflows.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: `action` is fully initialised and its handler only does what a handler may.
        let set = unsafe {
            libc::sigemptyset(&mut action.sa_mask);
            libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut())
        };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// The handler: atomics and system calls only.
    extern "C" fn on_sigbus(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
        // SAFETY: the kernel passes a valid `info` to a handler with SA_SIGINFO, and for SIGBUS its
        // address field may be read (it has a meaning only where the code is positive).
        let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
        // A code of 0 or below is a signal that a process sent: it has no address.
        if code > 0 && replace_lost_pages(address) {
            return;
        }
        pass_on(signal, code, info, context);
    }

    /// Puts zero pages from the page of `address` to the end of our mapping that contains it; false
    /// if none does or the system refuses.
    fn replace_lost_pages(address: usize) -> bool {
        let found = SLOTS
            .iter()
            .find_map(|slot| Some((slot, slot.end_of(address)?)));
        let Some((slot, end)) = found else {
            return false;
        };
        // Before the zeros can be read.
        slot.faulted.store(true, SeqCst);
        let page = address & !(PAGE_BYTES.load(SeqCst) - 1);
        // SAFETY: [page, end) lies inside one of our live read-only mappings, so nothing else is
        // replaced, and its readers find readable memory at the same addresses. mmap is a bare
        // system call that leaves errno alone when it succeeds.
        let zeros = unsafe {
            libc::mmap(
                page as *mut c_void,
                end - page,
                libc::PROT_READ,
                libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_FIXED,
                -1,
                0,
            )
        };
        zeros != libc::MAP_FAILED
    }

    /// Does what SIGBUS did before we came.
    fn pass_on(signal: c_int, code: c_int, info: *mut siginfo_t, context: *mut c_void) {
        let previous = PREVIOUS.get();
        let handler = previous.map_or(libc::SIG_DFL, |p| p.sa_sigaction);
        let flags = previous.map_or(0, |p| p.sa_flags);
        match handler {
            // A fault cannot be ignored; a signal that a process sent can.
            libc::SIG_IGN if code <= 0 => {}
            libc::SIG_DFL | libc::SIG_IGN => {
                // SAFETY: both calls are allowed in a handler. The raised signal is delivered, with
                // the default action, when this handler returns.
                unsafe {
                    libc::signal(signal, libc::SIG_DFL);
                    libc::raise(signal);
                }
            }
            address if flags & libc::SA_SIGINFO != 0 => {
                // SAFETY: the system gave this address as a handler with SA_SIGINFO, which has this
                // signature, and its arguments are the kernel's own.
                unsafe {
                    let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
                        std::mem::transmute(address);
                    handler(signal, info, context);
                }
            }
            address => {
                // SAFETY: the system gave this address as a handler without SA_SIGINFO, which has
                // this signature.
                unsafe {
                    let handler: extern "C" fn(c_int) = std::mem::transmute(address);
                    handler(signal);
                }
            }
        }
    }
}

/// Elsewhere a mapping has no guard; `check` still compares length and modification time.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
mod registry {
    /// The greatest number of mappings.
    pub(super) const MAX_MAPPINGS: usize = usize::MAX;

    #[derive(Debug)]
    pub(super) struct Registration;

    impl Registration {
        pub(super) fn new(_start: usize, _len: usize) -> Option<Self> {
            Some(Registration)
        }

        pub(super) fn faulted(&self) -> bool {
            false
        }
    }

    pub(super) fn install() -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(all(test, any(target_os = "linux", target_os = "macos")))]
mod tests {
    use super::*;

    const LEN: usize = 1 << 20;

    /// A file of ones.
    fn file(dir: &Path) -> PathBuf {
        let path = dir.join("ones.bin");
        std::fs::write(&path, vec![1u8; LEN]).unwrap();
        path
    }

    fn truncate(path: &Path, len: u64) {
        let file = File::options().write(true).open(path).unwrap();
        file.set_len(len).unwrap();
    }

    #[track_caller]
    fn assert_changed(map: &GuardedMap, path: &Path, what: &str) {
        let error = map.check().unwrap_err();
        assert!(matches!(&error, Error::WeightsChanged { .. }), "{error:?}");
        let message = error.to_string();
        assert!(
            message.contains(what) && message.contains(path.to_str().unwrap()),
            "{message}"
        );
    }

    #[test]
    fn an_intact_file_passes() {
        let dir = tempfile::tempdir().unwrap();
        let map = GuardedMap::open(&file(dir.path())).unwrap();
        assert_eq!(
            map.bytes().iter().map(|&b| usize::from(b)).sum::<usize>(),
            LEN
        );
        map.check().unwrap();
    }

    #[test]
    fn a_truncated_file_reads_as_zeros_and_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path());
        let map = GuardedMap::open(&path).unwrap();
        truncate(&path, 0);
        assert_eq!(map.bytes()[LEN / 2], 0);
        assert!(map.bytes().iter().all(|&b| b == 0));
        assert_changed(&map, &path, "was truncated or could not be read");
    }

    #[test]
    fn many_threads_may_fault_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path());
        let map = GuardedMap::open(&path).unwrap();
        truncate(&path, 8192);
        std::thread::scope(|scope| {
            for offset in 0..8 {
                let bytes = map.bytes();
                scope.spawn(move || {
                    let sum: usize = bytes[offset..].iter().map(|&b| usize::from(b)).sum();
                    assert!(sum <= 8192);
                });
            }
        });
        assert_changed(&map, &path, "was truncated");
    }

    #[test]
    fn a_truncation_that_no_fault_shows_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path());
        let map = GuardedMap::open(&path).unwrap();
        truncate(&path, LEN as u64 - 1);
        assert_eq!(map.bytes()[LEN - 1], 0);
        assert_changed(&map, &path, "was truncated");
    }

    #[test]
    fn a_modified_file_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path());
        let map = GuardedMap::open(&path).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_changed(&map, &path, "was modified");
    }

    #[test]
    fn registrations_are_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path());
        for _ in 0..2 * registry::MAX_MAPPINGS {
            let map = GuardedMap::open(&path).unwrap();
            assert_eq!(map.bytes()[LEN - 1], 1);
        }
    }

    #[test]
    fn a_foreign_fault_still_ends_the_process() {
        use std::os::unix::process::ExitStatusExt;
        const CHILD: &str = "WINDOWKV_TEST_FOREIGN_FAULT";
        if std::env::var_os(CHILD).is_some() {
            let dir = tempfile::tempdir().unwrap();
            let _guarded = GuardedMap::open(&file(dir.path())).unwrap();
            let path = dir.path().join("other.bin");
            std::fs::write(&path, vec![1u8; LEN]).unwrap();
            // SAFETY: the mapping is read-only; that reading it ends this process is the test.
            let foreign = unsafe { Mmap::map(&File::open(&path).unwrap()) }.unwrap();
            truncate(&path, 0);
            println!("{}", foreign[LEN / 2]);
            std::process::exit(0);
        }
        let name = "weights::guarded_map::tests::a_foreign_fault_still_ends_the_process";
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert_eq!(
            output.status.signal(),
            Some(libc::SIGBUS),
            "{}",
            output.status
        );
    }
}
