//! What the profiles are of.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use stagelight_benches::cpu_time::thread_ns;

/// A piece of work of some microseconds that stays on the CPU.
#[inline(never)]
pub fn work(seed: u64) -> u64 {
    (0..2_000).fold(seed, |sum, n| black_box(sum.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(n)))
}

/// So many pieces.
pub fn works(pieces: u64, seed: u64) {
    for _ in 0..pieces {
        black_box(work(seed));
    }
}

/// Works on so many threads for that long; the CPU nanoseconds of all.
pub fn burn(threads: usize, wall: Duration) -> f64 {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    let (start, before) = (Instant::now(), thread_ns());
                    while start.elapsed() < wall {
                        works(100, thread as u64);
                    }
                    thread_ns() - before
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or(0.0)).sum()
    })
}

/// Queries of a database in memory, which is C, from Rust, until the time is over.
pub fn query(wall: Duration) {
    let run = || -> rusqlite::Result<u64> {
        let connection = Connection::open_in_memory()?;
        connection.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b INTEGER); BEGIN")?;
        for id in 0..2_000 {
            connection.execute("INSERT INTO t VALUES (?, ?, ?)", (id, format!("text {id}"), id % 37))?;
        }
        connection.execute_batch("COMMIT")?;
        let start = Instant::now();
        let mut rows = 0;
        while start.elapsed() < wall {
            let mut statement = connection.prepare_cached(
                "SELECT b, count(*), max(a) FROM t WHERE a LIKE '%7%' GROUP BY b ORDER BY 2 DESC",
            )?;
            rows += statement.query_map([], |row| row.get::<_, i64>(1))?.count() as u64;
        }
        Ok(rows)
    };
    black_box(run().unwrap_or(0));
}
