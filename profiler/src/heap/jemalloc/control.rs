//! jemalloc's control interface, as far as we use it. `tikv-jemalloc-ctl` wraps none of these.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

/// The configuration that jemalloc reads at its start: a pointer to text.
#[repr(transparent)]
pub struct Conf(*const c_char);

// SAFETY: it points to constant text.
unsafe impl Sync for Conf {}

impl Conf {
    /// The configuration `text`, which must end in a null byte.
    #[must_use]
    pub const fn new(text: &'static str) -> Self {
        assert!(matches!(text.as_bytes(), [.., 0]), "the configuration ends in a null byte");
        Self(text.as_ptr().cast())
    }
}

/// An error number of jemalloc's, in words.
fn words(number: c_int) -> String {
    std::io::Error::from_raw_os_error(number).to_string()
}

/// Reads a value.
///
/// # Safety
/// `T` is the type that jemalloc's manual gives the name.
pub(super) unsafe fn read<T: Copy>(name: &CStr) -> Result<T, String> {
    let mut value = std::mem::MaybeUninit::<T>::uninit();
    let mut size = size_of::<T>();
    // SAFETY: the places to write to are ours and of the size given.
    let error = unsafe {
        tikv_jemalloc_sys::mallctl(
            name.as_ptr(),
            value.as_mut_ptr().cast::<c_void>(),
            &raw mut size,
            ptr::null_mut(),
            0,
        )
    };
    // SAFETY: jemalloc wrote the whole value, by its own account of its size.
    if error == 0 && size == size_of::<T>() { Ok(unsafe { value.assume_init() }) } else { Err(words(error)) }
}

/// Writes a value.
///
/// # Safety
/// `T` is the type that jemalloc's manual gives the name, and the value does what the manual asks of it.
pub(super) unsafe fn write<T: Copy>(name: &CStr, mut value: T) -> Result<(), String> {
    // SAFETY: the value is ours and of the size given.
    let error = unsafe {
        tikv_jemalloc_sys::mallctl(
            name.as_ptr(),
            ptr::null_mut(),
            ptr::null_mut(),
            (&raw mut value).cast::<c_void>(),
            size_of::<T>(),
        )
    };
    if error == 0 { Ok(()) } else { Err(words(error)) }
}

/// The average bytes between samples, as a power of two.
fn lg_sample() -> Result<usize, String> {
    // SAFETY: the manual gives `size_t`.
    unsafe { read::<usize>(c"prof.lg_sample") }
}

/// The average bytes between samples.
pub(super) fn interval() -> Result<u64, String> {
    1_u64
        .checked_shl(lg_sample()? as u32)
        .ok_or_else(|| "jemalloc's sampling interval is out of range".into())
}

/// Makes an allocation that is sampled for certain but for one case in e^16, frees it and gives its size, which is that of a
/// class. It is not touched, so it uses no memory.
pub(super) fn sample() -> Result<usize, String> {
    let size = 16 << lg_sample().unwrap_or(19).min(30);
    let mut untouched = Vec::<u8>::new();
    untouched
        .try_reserve_exact(size)
        .map_err(|_| format!("no room for a test allocation of {size} bytes"))?;
    drop(std::hint::black_box(untouched));
    Ok(size)
}

/// Where jemalloc counts the bytes that the calling thread has allocated. The address holds until the thread's end.
pub(super) fn thread_allocated() -> Option<*const u64> {
    // SAFETY: the manual gives `uint64_t *`.
    let address = unsafe { read::<*const u64>(c"thread.allocatedp") }.ok()?;
    (!address.is_null()).then_some(address)
}

/// Whether the allocator in use is this jemalloc at all: if it is not the global one, nothing is counted.
pub(super) fn is_in_use() -> bool {
    let Some(counter) = thread_allocated() else { return false };
    // SAFETY: the counter is this thread's own.
    let count = || unsafe { counter.read_volatile() };
    let before = count();
    drop(std::hint::black_box(Box::new([0_u8; 64])));
    count() != before
}
