//! Where the calling thread's stack lies, so that samplers can read it without asking for each page.

/// Its lowest address and its end. Zeros if the system doesn't say.
#[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
pub(crate) fn bounds() -> [u64; 2] {
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut low, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: the call fills the attributes in, or fails, and then nothing is read of them; they are destroyed once.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return [0, 0];
        }
        let known = libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut low, &raw mut size) == 0;
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        if !known {
            return [0, 0];
        }
    }
    [low as u64, low as u64 + size as u64]
}

#[cfg(not(all(target_os = "linux", target_env = "gnu", not(miri))))]
pub(crate) fn bounds() -> [u64; 2] {
    [0, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_lies_within() {
        let local = 0_u64;
        let address = std::ptr::from_ref(&local) as u64;
        let [low, high] = bounds();
        assert!((low..high).contains(&address) || high == 0, "{address:#x} in {low:#x} to {high:#x}");
    }
}
