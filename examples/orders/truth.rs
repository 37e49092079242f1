//! What the program knows of itself without Stagelight.
//!
//! Each worker counts in plain thread-local integers and measures its CPU time by the system's clock. The
//! report sets this beside what Stagelight says, and a test demands that the counts are equal.

use std::cell::RefCell;

use crate::request::Kind;
use crate::statement::Statement;
use crate::tenants::{TENANTS, Tenant};

/// The stages of the service by their names in the profile.
#[derive(Clone, Copy)]
pub enum Stage {
    Transaction,
    Execute,
    Admission,
    Begin,
    Prepare,
    Bind,
    Step,
    Fetch,
    Pricing,
    EncodeReply,
    Commit,
    Rollback,
}

impl Stage {
    pub const ALL: [(Stage, &'static str); 12] = [
        (Stage::Transaction, "transaction"),
        (Stage::Execute, "execute"),
        (Stage::Admission, "admission"),
        (Stage::Begin, "begin"),
        (Stage::Prepare, "prepare"),
        (Stage::Bind, "bind"),
        (Stage::Step, "step"),
        (Stage::Fetch, "fetch"),
        (Stage::Pricing, "pricing"),
        (Stage::EncodeReply, "encode_reply"),
        (Stage::Commit, "commit"),
        (Stage::Rollback, "rollback"),
    ];
}

/// One worker's counts, or the sum of several.
#[derive(Default)]
pub struct Tally {
    transactions: [u64; Kind::ALL.len()],
    statements: [u64; Statement::ALL.len()],
    stages: [u64; Stage::ALL.len()],
    /// By the tenant's id.
    cpu_ns: [u64; TENANTS.len()],
}

thread_local! {
    static TALLY: RefCell<Tally> = RefCell::default();
}

pub fn count_transaction(kind: Kind) {
    TALLY.with_borrow_mut(|tally| tally.transactions[kind as usize] += 1);
}

pub fn count_statement(statement: Statement) {
    TALLY.with_borrow_mut(|tally| tally.statements[statement as usize] += 1);
}

pub fn count_stage(stage: Stage) {
    TALLY.with_borrow_mut(|tally| tally.stages[stage as usize] += 1);
}

/// Does a tenant's work and adds the CPU time that it took.
pub fn measure_cpu<T>(tenant: &Tenant, work: impl FnOnce() -> T) -> T {
    let start = thread_cpu_ns();
    let result = work();
    let spent = thread_cpu_ns() - start;
    TALLY.with_borrow_mut(|tally| tally.cpu_ns[tenant.id] += spent);
    result
}

/// Takes what the calling thread counted; a worker does so when it ends.
pub fn take() -> Tally {
    TALLY.take()
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        add(&mut self.transactions, &other.transactions);
        add(&mut self.statements, &other.statements);
        add(&mut self.stages, &other.stages);
        add(&mut self.cpu_ns, &other.cpu_ns);
    }

    /// Calls by statement key. Transactions are statements too.
    pub fn statements(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let transactions = Kind::ALL.iter().map(|kind| (kind.key(), self.transactions[*kind as usize]));
        let statements = Statement::ALL.iter().map(|s| (s.key(), self.statements[*s as usize]));
        transactions.chain(statements)
    }

    /// Calls by stage.
    pub fn stages(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Stage::ALL.iter().map(|(stage, name)| (*name, self.stages[*stage as usize]))
    }

    /// CPU time in nanoseconds by tenant.
    pub fn tenants(&self) -> impl Iterator<Item = (&'static str, u64)> {
        TENANTS.iter().map(|tenant| (tenant.name, self.cpu_ns[tenant.id]))
    }
}

fn add(sums: &mut [u64], counts: &[u64]) {
    for (sum, count) in sums.iter_mut().zip(counts) {
        *sum += count;
    }
}

/// The calling thread's CPU time, in the kernel too.
fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists on every Linux, and `time` is valid for writing.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
