//! The service: one request in, one transaction, one reply out.

use std::path::PathBuf;

use rusqlite::Connection;
use stagelight::{query, stage};

use crate::admission::Admission;
use crate::reply::{self, Reply, ReplyCache};
use crate::request::{Request, Work};
use crate::session::Session;
use crate::tenants::TENANTS;
use crate::truth::{self, Stage};

/// What all workers share.
pub struct Service {
    pub database: PathBuf,
    admission: Admission,
    /// By the tenant's id.
    reply_caches: [ReplyCache; TENANTS.len()],
}

/// Why a request failed.
#[derive(Debug)]
pub enum Failure {
    /// An order of an item that does not exist. TPC-C wants one in a hundred new orders to end so.
    UnknownItem,
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Failure::Database(error)
    }
}

impl Service {
    pub fn new(database: PathBuf) -> Self {
        let readers = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            database,
            admission: Admission::new(readers),
            reply_caches: std::array::from_fn(|tenant| ReplyCache::new(TENANTS[tenant].cached_replies)),
        }
    }

    /// Serves one request.
    ///
    /// A transaction is a query as well, so that the Rust code between its statements belongs to somebody. The
    /// labels of a statement replace these until the statement ends. An `Err` counts as an error.
    #[query(key = request.work.kind().key(), tenant = request.tenant.name, user = request.work.kind().user())]
    pub fn transaction(&self, db: &Connection, request: &Request) -> Result<(), Failure> {
        let kind = request.work.kind();
        truth::count_transaction(kind);
        truth::count_stage(Stage::Transaction);
        let gate = if kind.writes() { &self.admission.writers } else { &self.admission.readers };
        let place = gate.enter();
        begin(db, kind.writes())?;
        let session = Session { db, tenant: request.tenant, user: kind.user() };
        let reply = match run(&session, &request.work) {
            Ok(reply) => reply,
            Err(failure) => {
                rollback(db)?;
                return Err(failure);
            }
        };
        commit(db)?;
        // The next one may come in while the reply is encoded.
        drop(place);
        self.reply_caches[request.tenant.id].keep(reply::encode(&reply));
        Ok(())
    }
}

fn run(session: &Session<'_>, work: &Work) -> Result<Reply, Failure> {
    match work {
        Work::NewOrder { district, customer, lines } => session.new_order(*district, *customer, lines),
        Work::Payment { district, customer, amount } => session.payment(*district, *customer, *amount),
        Work::OrderStatus { customer } => session.order_status(customer),
        Work::Delivery { carrier } => session.delivery(*carrier),
        Work::StockLevel { district, threshold } => session.stock_level(*district, *threshold),
    }
}

/// Who is going to write says so at once: a reader that starts to write may find that it read old data.
#[stage]
fn begin(db: &Connection, writes: bool) -> rusqlite::Result<()> {
    truth::count_stage(Stage::Begin);
    control(db, if writes { "BEGIN IMMEDIATE" } else { "BEGIN" })
}

#[stage]
fn commit(db: &Connection) -> rusqlite::Result<()> {
    truth::count_stage(Stage::Commit);
    control(db, "COMMIT")
}

#[stage]
fn rollback(db: &Connection) -> rusqlite::Result<()> {
    truth::count_stage(Stage::Rollback);
    control(db, "ROLLBACK")
}

fn control(db: &Connection, sql: &str) -> rusqlite::Result<()> {
    db.prepare_cached(sql)?.raw_execute().map(drop)
}
