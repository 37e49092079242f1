//! The tables, their first rows, and connections to them.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use rusqlite::{Connection, ffi, params};

use crate::random::Random;
use crate::tenants::TENANTS;

pub const DISTRICTS: i64 = 10;
pub const CUSTOMERS: i64 = 3_000;
pub const ITEMS: i64 = 2_000;
const FIRST_ORDERS: i64 = 20;

/// Money is in cents, tax and discount in hundredths of a percent.
const TABLES: &str = "
    CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price INTEGER);
    CREATE TABLE district (
        tenant INTEGER, id INTEGER, tax INTEGER, next_order INTEGER, paid INTEGER,
        PRIMARY KEY (tenant, id)
    ) WITHOUT ROWID;
    CREATE TABLE customer (
        tenant INTEGER, id INTEGER, last TEXT, discount INTEGER, balance INTEGER, notes TEXT,
        PRIMARY KEY (tenant, id)
    ) WITHOUT ROWID;
    CREATE INDEX customer_by_name ON customer (tenant, last);
    CREATE TABLE stock (
        tenant INTEGER, item INTEGER, quantity INTEGER, sold INTEGER,
        PRIMARY KEY (tenant, item)
    ) WITHOUT ROWID;
    CREATE TABLE orders (
        tenant INTEGER, district INTEGER, id INTEGER, customer INTEGER, carrier INTEGER,
        PRIMARY KEY (tenant, district, id)
    ) WITHOUT ROWID;
    CREATE INDEX orders_by_customer ON orders (tenant, customer);
    CREATE TABLE order_line (
        tenant INTEGER, district INTEGER, order_id INTEGER, line INTEGER,
        item INTEGER, quantity INTEGER, amount INTEGER,
        PRIMARY KEY (tenant, district, order_id, line)
    ) WITHOUT ROWID;
    CREATE TABLE undelivered (
        tenant INTEGER, district INTEGER, order_id INTEGER,
        PRIMARY KEY (tenant, district, order_id)
    ) WITHOUT ROWID;
    CREATE TABLE payment (tenant INTEGER, customer INTEGER, amount INTEGER);
";

/// Makes a fresh database in that folder, fills it and says where it is.
pub fn create(folder: &Path) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let path = folder.join("orders.db");
    for suffix in ["", "-wal", "-shm"] {
        match fs::remove_file(folder.join(format!("orders.db{suffix}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    count_no_memory();
    let mut db = connect(&path)?;
    db.execute_batch(TABLES)?;
    load(&mut db)?;
    Ok(path)
}

/// Tells SQLite to keep no statistics of its memory. Those sit behind one lock for the whole process, and our
/// threads would spend a quarter of their time there; the heap profile knows more anyway.
fn count_no_memory() {
    // SAFETY: SQLite was not used yet, and this option takes one int.
    unsafe { ffi::sqlite3_config(ffi::SQLITE_CONFIG_MEMSTATUS, 0) };
}

/// A connection for one worker.
pub fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open(path)?;
    db.busy_timeout(Duration::from_secs(5))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "NORMAL")?;
    // Some 40 MB of log between two checkpoints: fewer of them, each with more to do.
    db.pragma_update(None, "wal_autocheckpoint", 10_000)?;
    // Reading through the page cache of the system spares a system call a page.
    db.pragma_update(None, "mmap_size", 256 << 20)?;
    // All of our statements, so that each is compiled once a connection.
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

fn load(db: &mut Connection) -> rusqlite::Result<()> {
    let mut random = Random::new(1);
    let transaction = db.transaction()?;
    let mut item = transaction.prepare("INSERT INTO item VALUES (?, ?, ?)")?;
    for id in 1..=ITEMS {
        item.execute(params![id, format!("{} part", last_name(id)), random.between(100, 10_000)])?;
    }
    drop(item);
    for tenant in &TENANTS {
        load_tenant(&transaction, tenant.key(), &mut random)?;
    }
    transaction.commit()?;
    // The planner chooses with figures about the data, as it would in production.
    db.execute_batch("ANALYZE")
}

fn load_tenant(db: &Connection, tenant: i64, random: &mut Random) -> rusqlite::Result<()> {
    let mut stock = db.prepare("INSERT INTO stock VALUES (?, ?, ?, 0)")?;
    for item in 1..=ITEMS {
        stock.execute(params![tenant, item, random.between(10, 100)])?;
    }
    let mut customer = db.prepare("INSERT INTO customer VALUES (?, ?, ?, ?, 0, ?)")?;
    let notes = "A customer of long standing who likes parcels to be left with the neighbours.";
    for id in 1..=CUSTOMERS {
        customer.execute(params![tenant, id, last_name(id), random.between(0, 5_000), notes])?;
    }
    let mut district = db.prepare("INSERT INTO district VALUES (?, ?, ?, ?, 0)")?;
    let mut order = db.prepare("INSERT INTO orders VALUES (?, ?, ?, ?, NULL)")?;
    let mut undelivered = db.prepare("INSERT INTO undelivered VALUES (?, ?, ?)")?;
    let mut line = db.prepare("INSERT INTO order_line VALUES (?, ?, ?, ?, ?, 5, ?)")?;
    for district_id in 1..=DISTRICTS {
        district.execute(params![tenant, district_id, random.between(0, 2_000), FIRST_ORDERS + 1])?;
        for id in 1..=FIRST_ORDERS {
            order.execute(params![tenant, district_id, id, random.between(1, CUSTOMERS)])?;
            undelivered.execute(params![tenant, district_id, id])?;
            for number in 1..=5 {
                let (item, amount) = (random.between(1, ITEMS), random.between(500, 50_000));
                line.execute(params![tenant, district_id, id, number, item, amount])?;
            }
        }
    }
    Ok(())
}

/// One of TPC-C's thousand last names, made of three syllables.
pub fn last_name(number: i64) -> String {
    const SYLLABLES: [&str; 10] =
        ["BAR", "OUGHT", "ABLE", "PRI", "PRES", "ESE", "ANTI", "CALLY", "ATION", "EING"];
    let digit = |power: i64| SYLLABLES[(number / power % 10) as usize];
    [digit(100), digit(10), digit(1)].concat()
}
