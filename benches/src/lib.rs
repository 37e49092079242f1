//! Benches of every claim; `BENCHMARKS.md` holds the results.
