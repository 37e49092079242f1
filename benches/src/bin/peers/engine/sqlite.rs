//! SQLite: a prepared point select by rowid from a table of 10,000 rows in memory.

use std::sync::atomic::AtomicU32;

use rusqlite::Connection;

use super::scatter;

const ROWS: u64 = 10_000;
const SELECT: &str = "SELECT amount FROM orders WHERE id = ?";

pub struct Engine {
    connection: Connection,
    gate: AtomicU32,
}

impl Engine {
    pub fn new() -> Self {
        Self::open().expect("a database in memory opens")
    }

    fn open() -> rusqlite::Result<Self> {
        let connection = Connection::open_in_memory()?;
        connection.execute_batch(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, amount INTEGER, note TEXT); BEGIN",
        )?;
        {
            let mut insert = connection.prepare("INSERT INTO orders VALUES (?, ?, ?)")?;
            for key in 0..ROWS {
                insert.execute((key as i64, key as i64 * 7, "a note of average length"))?;
            }
        }
        connection.execute_batch("COMMIT")?;
        Ok(Self { connection, gate: AtomicU32::new(8) })
    }

    pub fn plain(&mut self, key: u64) -> u64 {
        plain::point_select(&self.connection, &self.gate, scatter(key, ROWS)).unwrap_or(0)
    }

    pub fn staged(&mut self, key: u64) -> u64 {
        staged::point_select(&self.connection, &self.gate, scatter(key, ROWS)).unwrap_or(0)
    }
}

macro_rules! point_select {
    ($module:ident $(, query = #[$query:meta], stage = #[$stage:meta])?) => {
        mod $module {
            use std::sync::atomic::{AtomicU32, Ordering};

            use rusqlite::{CachedStatement, Connection, Result, Row, Rows};

            $(#[$query])?
            pub fn point_select(connection: &Connection, gate: &AtomicU32, key: u64) -> Result<u64> {
                admission(gate);
                let mut statement = prepare(connection)?;
                bind(&mut statement, key)?;
                let mut rows = statement.raw_query();
                let amount = match step(&mut rows)? {
                    Some(row) => fetch(row)?,
                    None => 0,
                };
                gate.fetch_add(1, Ordering::Release);
                Ok(amount)
            }

            $(#[$stage])?
            fn admission(gate: &AtomicU32) {
                while gate.fetch_sub(1, Ordering::Acquire) == 0 {
                    gate.fetch_add(1, Ordering::Release);
                    std::thread::yield_now();
                }
            }

            $(#[$stage])?
            fn prepare(connection: &Connection) -> Result<CachedStatement<'_>> {
                connection.prepare_cached(super::SELECT)
            }

            $(#[$stage])?
            fn bind(statement: &mut CachedStatement<'_>, key: u64) -> Result<()> {
                statement.raw_bind_parameter(1, key as i64)
            }

            $(#[$stage])?
            fn step<'a, 'b>(rows: &'a mut Rows<'b>) -> Result<Option<&'a Row<'b>>> {
                rows.next()
            }

            $(#[$stage])?
            fn fetch(row: &Row<'_>) -> Result<u64> {
                row.get::<_, i64>(0).map(|amount| amount as u64)
            }
        }
    };
}

point_select!(plain);
point_select!(
    staged,
    query = #[stagelight::query(key = crate::engine::sqlite::SELECT, tenant = "acme")],
    stage = #[stagelight::stage]
);
