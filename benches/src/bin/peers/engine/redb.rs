//! redb: a point get from an open table of 10,000 rows in memory.

use redb::backends::InMemoryBackend;
use redb::{Database, ReadOnlyTable, ReadableDatabase, TableDefinition};

use super::scatter;

const ROWS: u64 = 10_000;
const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("orders");

pub struct Engine {
    _database: Database,
    table: ReadOnlyTable<u64, &'static [u8]>,
}

impl Engine {
    pub fn new() -> Self {
        Self::open().expect("a database in memory opens")
    }

    fn open() -> Result<Self, redb::Error> {
        let database = Database::builder().create_with_backend(InMemoryBackend::new())?;
        let writing = database.begin_write()?;
        {
            let mut table = writing.open_table(TABLE)?;
            for key in 0..ROWS {
                table.insert(key, [key as u8; 100].as_slice())?;
            }
        }
        writing.commit()?;
        let table = database.begin_read()?.open_table(TABLE)?;
        Ok(Self { _database: database, table })
    }

    pub fn plain(&mut self, key: u64) -> u64 {
        plain::point_get(&self.table, key)
    }

    pub fn staged(&mut self, key: u64) -> u64 {
        staged::point_get(&self.table, key)
    }
}

macro_rules! point_get {
    ($module:ident $(, query = #[$query:meta], stage = #[$stage:meta])?) => {
        mod $module {
            use redb::{AccessGuard, ReadOnlyTable};

            type Table = ReadOnlyTable<u64, &'static [u8]>;

            $(#[$query])?
            pub fn point_get(table: &Table, key: u64) -> u64 {
                let key = bind(key);
                let found = seek(table, key);
                found.map_or(0, |value| fetch(&value))
            }

            $(#[$stage])?
            fn bind(key: u64) -> u64 {
                super::scatter(key, super::ROWS)
            }

            $(#[$stage])?
            fn seek(table: &Table, key: u64) -> Option<AccessGuard<'static, &'static [u8]>> {
                table.get(key).expect("the table is in memory")
            }

            $(#[$stage])?
            fn fetch(value: &AccessGuard<'static, &'static [u8]>) -> u64 {
                value.value().iter().map(|&byte| u64::from(byte)).sum()
            }
        }
    };
}

point_get!(plain);
point_get!(
    staged,
    query = #[stagelight::query(key = "get orders", tenant = "acme")],
    stage = #[stagelight::stage]
);
