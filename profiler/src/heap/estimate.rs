//! What a sampled allocation stands for.

/// How many objects of that many bytes a sample of one stands for: the inverse of the chance that one is sampled.
pub(super) fn stands_for(bytes: f64, interval: u64) -> f64 {
    if bytes <= 0.0 || interval <= 1 { 1.0 } else { 1.0 / -(-bytes / interval as f64).exp_m1() }
}
