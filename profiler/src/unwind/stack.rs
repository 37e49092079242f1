//! Reading the stack of a thread whose state is anything: without ever touching a page that can't be read.

const PAGE: u64 = 4096;

/// Reads the words of one stack, upwards from where the thread stands.
///
/// Of a thread that has entered a stage it is known where its stack ends, and all of it above the stack pointer is in
/// use. On any other stack, a coroutine's or a signal handler's, the pages are checked one by one as the walk
/// reaches them, by a system call that never succeeds and says whether it could read. A walk of forty frames crosses two or
/// three pages.
///
/// Of another thread's stack there is a copy.
pub(super) struct StackReader<'a> {
    lowest: u64,
    /// The end of the pages that are known to be readable, from `lowest` on.
    readable: u64,
    /// The words from `lowest` on.
    copy: Option<&'a [u64]>,
}

impl<'a> StackReader<'a> {
    /// A reader of the stack whose pointer is `sp`, which need not be true.
    pub(super) fn new(sp: u64) -> Self {
        let [low, high] = stagelight::__private::stack();
        let readable = if (low..high).contains(&sp) { high } else { sp & !(PAGE - 1) };
        Self { lowest: sp, readable, copy: None }
    }

    /// A reader of a copy of a stack, from the stack pointer on.
    pub(super) fn of_copy(sp: u64, words: &'a [u64]) -> Self {
        Self { lowest: sp, readable: sp, copy: Some(words) }
    }

    /// Whether it reads a copy.
    pub(super) fn is_copy(&self) -> bool {
        self.copy.is_some()
    }

    /// The word at an address.
    pub(super) fn read(&mut self, address: u64) -> Result<u64, ()> {
        if address < self.lowest || !address.is_multiple_of(8) {
            return Err(());
        }
        if let Some(words) = self.copy {
            let place = (address - self.lowest) / 8;
            return words.get(place as usize).copied().ok_or(());
        }
        if address >= self.readable {
            // Where the walk jumps, over a large frame or after a wrong turn, this may be anyone's memory.
            if address - self.readable >= PAGE {
                return copy(address);
            }
            if !is_readable(address) {
                return Err(());
            }
            self.readable = self.readable.saturating_add(PAGE);
        }
        // SAFETY: the address is aligned, and all pages from the stack pointer's to its own are either of the thread's own
        // stack or were seen to be readable in this walk: nobody unmaps meanwhile what the thread stands on.
        // Volatile, as the word may belong to anything.
        Ok(unsafe { (address as *const u64).read_volatile() })
    }
}

/// Whether eight bytes at an aligned address can be read, asked of the kernel: a call to change the signal mask
/// copies the mask in before it looks at what to do with it, which here is nonsense.
fn is_readable(address: u64) -> bool {
    const NONSENSE: libc::c_long = -1;
    // SAFETY: `how` is invalid, so the call changes nothing, whatever the address.
    let refused = unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, NONSENSE, address, std::ptr::null_mut::<u8>(), 8_usize)
    };
    // SAFETY: errno is this thread's own.
    refused == -1 && unsafe { *libc::__errno_location() } == libc::EINVAL
}

/// A word of this process's memory, copied by the kernel, which refuses what can't be read.
pub(super) fn copy(address: u64) -> Result<u64, ()> {
    let mut word = 0_u64;
    let to = libc::iovec { iov_base: (&raw mut word).cast(), iov_len: size_of::<u64>() };
    let from = libc::iovec { iov_base: address as *mut _, iov_len: size_of::<u64>() };
    // SAFETY: the kernel writes to `word` alone, and reads through no pointer that it has not checked.
    let copied = unsafe { libc::process_vm_readv(libc::getpid(), &raw const to, 1, &raw const from, 1, 0) };
    if copied == size_of::<u64>() as isize { Ok(word) } else { Err(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own_stack_and_stops_where_memory_does() {
        let words = [11_u64, 22, 33];
        let base = words.as_ptr() as u64;
        let mut reader = StackReader::new(base);
        assert_eq!((reader.read(base), reader.read(base + 16)), (Ok(11), Ok(33)));
        assert_eq!(reader.read(base - 8), Err(()), "below the stack pointer nothing is in use");
        assert_eq!(reader.read(base + 1), Err(()), "words are aligned");
        assert_eq!(reader.read(u64::MAX - 7), Err(()));
        let far = Box::new(44_u64);
        let address = std::ptr::from_ref(&*far) as u64;
        assert_eq!(StackReader::new(address & !0xffff_ffff).read(address), Ok(44));
    }

    #[test]
    fn a_guard_page_is_not_readable() {
        // SAFETY: a new mapping affects no other memory.
        let pages = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                2 * PAGE as usize,
                libc::PROT_READ,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        } as u64;
        // SAFETY: the second page is this test's own.
        assert_eq!(unsafe { libc::mprotect((pages + PAGE) as *mut _, PAGE as usize, libc::PROT_NONE) }, 0);
        let mut reader = StackReader::new(pages);
        assert_eq!(reader.read(pages + PAGE - 8), Ok(0));
        assert_eq!(reader.read(pages + PAGE), Err(()));
    }
}
