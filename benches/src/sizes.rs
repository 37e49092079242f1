//! What the allocation loads ask for.

/// Allocations that such a load keeps at a time.
pub const RING: usize = 4096;

/// Sizes from 16 to 4,095 bytes, log-uniform, always the same.
#[must_use]
pub fn log_uniform() -> [usize; RING] {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    std::array::from_fn(|_| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (16.0_f64.powf(1.0 + 2.0 * (random % 1000) as f64 / 1000.0) as usize).min(4095)
    })
}
