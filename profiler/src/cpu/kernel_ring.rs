//! Where the kernel writes its own call chains: a ring of two pages for each thread, mapped while a profile with the kernel's
//! functions runs.
//!
//! # Why this is sound
//! A ring is a page of positions and a page of records. The kernel writes records up to `data_head`; the thread whose ring it is
//! reads them in its signal handler, and says by `data_tail` how far it has come, beyond which the kernel does not write. All that
//! both touch is touched by atomic accesses, and whatever was read is taken for any bytes. A ring is unmapped once no
//! handler uses it: [`Armed`] counts them.
//!
//! The handler finds its ring by the number that the event carries in its signal. A signal may outlive its event, and the
//! number have become another thread's meanwhile: so the ring says whose it is.

use std::io;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use perf_event_open_sys::bindings::perf_event_mmap_page;

use super::kernel_records::{self, Chain, Found};
use super::perf_event::PerfEvent;
use super::{tasks, thinning};
use crate::armed::Armed;

/// Threads that may have a ring at a time. 96 KiB, of which untouched pages take nothing.
const PLACES: usize = 4096;

/// By the number that an event is told by, above this one.
const FIRST_MARK: u64 = 1 << 16;

/// The mark of an event without a place.
pub(super) const NO_PLACE_MARK: u64 = FIRST_MARK + PLACES as u64;

/// A page of positions, and one of records.
const PAGE: usize = 4096;
const RING_BYTES: usize = 2 * PAGE;

struct Entry {
    /// Whether a thread has it, with a ring or without.
    taken: AtomicBool,
    ring: Armed<KernelRing>,
}

static ENTRIES: [Entry; PLACES] =
    [const { Entry { taken: AtomicBool::new(false), ring: Armed::new() } }; PLACES];

/// Where to look for a free place first: those that were given back last are used again last.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Bytes that are mapped.
static MAPPED: AtomicUsize = AtomicUsize::new(0);

/// Records that the kernel found no room for, since the process started.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Bytes that rings use at present.
pub(super) fn bytes() -> usize {
    MAPPED.load(Ordering::Relaxed)
}

/// Call chains that are missing because a ring was full, since the process started.
pub(super) fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

struct KernelRing {
    tid: i32,
    /// A process that was forked has no such mapping, and may have something else there.
    pid: u32,
    page: NonNull<perf_event_mmap_page>,
}

// SAFETY: the page is shared memory that is there as long as this is, and it is reached by atomic accesses alone.
unsafe impl Send for KernelRing {}
// SAFETY: as above.
unsafe impl Sync for KernelRing {}

impl KernelRing {
    fn map(event: &PerfEvent, tid: i32) -> io::Result<Self> {
        // Writable, so that the kernel writes over nothing that was not read.
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, at a place that the kernel chooses, of an event of ours.
        let page =
            unsafe { libc::mmap(ptr::null_mut(), RING_BYTES, access, libc::MAP_SHARED, event.fd(), 0) };
        let failed = page == libc::MAP_FAILED;
        let page = NonNull::new(page.cast()).filter(|_| !failed).ok_or_else(io::Error::last_os_error)?;
        MAPPED.fetch_add(RING_BYTES, Ordering::Relaxed);
        Ok(Self { tid, pid: std::process::id(), page })
    }

    fn head(&self) -> &AtomicU64 {
        // SAFETY: a word of the mapped page, aligned, which is there as long as `self`. The kernel writes it whole.
        unsafe { AtomicU64::from_ptr(&raw mut (*self.page.as_ptr()).data_head) }
    }

    fn tail(&self) -> &AtomicU64 {
        // SAFETY: as above; the kernel reads it.
        unsafe { AtomicU64::from_ptr(&raw mut (*self.page.as_ptr()).data_tail) }
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the second page of the mapping, which is there as long as `self`; any bytes are numbers, and an atomic has
        // the layout of its number. Between `data_tail` and `data_head` the kernel writes nothing; if it did, atomic reads would
        // bear it.
        unsafe {
            slice::from_raw_parts(self.page.as_ptr().byte_add(PAGE).cast(), PAGE / size_of::<AtomicU64>())
        }
    }

    /// Takes one of the call chains that were written since the last time.
    fn take(&self, chain: &mut Chain) -> Found {
        let tail = self.tail().load(Ordering::Relaxed);
        // Pairs with the kernel's barrier between the records and their position.
        let head = self.head().load(Ordering::Acquire);
        let found = kernel_records::read(self.words(), tail, head, || thinning::random(head), chain);
        self.tail().store(head, Ordering::Release);
        found
    }
}

impl Drop for KernelRing {
    fn drop(&mut self) {
        MAPPED.fetch_sub(RING_BYTES, Ordering::Relaxed);
        if self.pid == std::process::id() {
            // SAFETY: the mapping is ours, and no reference to it outlives this.
            unsafe { libc::munmap(self.page.as_ptr().cast(), RING_BYTES) };
        }
    }
}

/// A place in the table, for the ring of one thread. Dropping it unmaps the ring and gives the place back.
pub(super) struct Place(usize);

impl Place {
    /// `None` if all are taken.
    pub(super) fn claim() -> Option<Self> {
        let first = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut places = (0..PLACES).map(|step| first.wrapping_add(step) % PLACES);
        places.find(|&place| !ENTRIES[place].taken.swap(true, Ordering::Acquire)).map(Self)
    }

    /// By which the event tells its thread's handler which ring is its own.
    pub(super) fn mark(&self) -> u64 {
        FIRST_MARK + self.0 as u64
    }

    /// Maps the event's ring. The event is of this thread, and carries this place's mark.
    pub(super) fn map(&self, event: &PerfEvent, tid: i32) -> io::Result<()> {
        ENTRIES[self.0].ring.arm(Box::new(KernelRing::map(event, tid)?));
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        ENTRIES[self.0].ring.disarm(|_| ());
        ENTRIES[self.0].taken.store(false, Ordering::Release);
    }
}

/// Whether the mark is of an event of this kind.
pub(super) fn is_mark(mark: u64) -> bool {
    (FIRST_MARK..=NO_PLACE_MARK).contains(&mark)
}

/// What the kernel was doing for the calling thread as the sample fell due whose signal has this mark. `None` if that is not
/// known: the thread has no ring, or the ring had no room. Async-signal-safe.
pub(super) fn take(mark: u64, chain: &mut Chain) -> Option<&[u64]> {
    let found = own(mark, |ring| ring.take(chain))?;
    LOST.fetch_add(found.lost, Ordering::Relaxed);
    (found.samples > 0).then(|| chain.frames())
}

/// Calls `look` with the calling thread's ring, if it has one by that mark. Async-signal-safe, if `look` is.
fn own<R>(mark: u64, look: impl FnOnce(&KernelRing) -> R) -> Option<R> {
    let entry = ENTRIES.get(mark.checked_sub(FIRST_MARK)? as usize)?;
    entry.ring.with(|ring| (ring.tid == tasks::own()).then(|| look(ring)))?
}
