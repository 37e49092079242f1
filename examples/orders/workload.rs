//! The load: workers that send random requests in shifts.

use std::thread;
use std::time::{Duration, Instant};

use crate::random::Random;
use crate::request::{Customer, Kind, Line, Request, Work};
use crate::schema::{self, CUSTOMERS, DISTRICTS, ITEMS};
use crate::service::{Failure, Service};
use crate::tenants::{Mix, TENANTS};
use crate::truth::{self, Tally};

/// How long a worker lives. The next shift is worked by new threads, so that the profile shows what becomes of
/// threads that end: nothing they recorded is lost.
const SHIFT: Duration = Duration::from_secs(1);

/// Works for that long, or until the database fails. Gives what the workers counted, and why they
/// ended early, if they did.
pub fn run(service: &Service, threads: usize, duration: Duration) -> (Tally, rusqlite::Result<()>) {
    // While one connection is open SQLite keeps its write-ahead log; between two shifts there would be none.
    let _keeps_log = match schema::connect(&service.database) {
        Ok(connection) => connection,
        Err(error) => return (Tally::default(), Err(error)),
    };
    let end = Instant::now() + duration;
    let (mut sum, mut result) = (Tally::default(), Ok(()));
    let mut seed = 0;
    while result.is_ok() && Instant::now() < end {
        let shift_end = end.min(Instant::now() + SHIFT);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|_| {
                    seed += 1;
                    let random = Random::new(seed);
                    scope.spawn(move || work(service, random, shift_end))
                })
                .collect();
            for worker in workers {
                let (counted, worked) = worker.join().expect("a worker panicked");
                sum.add(&counted);
                result = std::mem::replace(&mut result, Ok(())).and(worked);
            }
        });
    }
    (sum, result)
}

/// One worker's shift.
fn work(service: &Service, random: Random, end: Instant) -> (Tally, rusqlite::Result<()>) {
    let worked = serve(service, random, end);
    (truth::take(), worked)
}

/// Requests one by one, on a connection of its own.
fn serve(service: &Service, mut random: Random, end: Instant) -> rusqlite::Result<()> {
    let db = schema::connect(&service.database)?;
    while Instant::now() < end {
        let request = next_request(&mut random);
        match truth::measure_cpu(request.tenant, || service.transaction(&db, &request)) {
            // The client is told that there is no such item, and goes on.
            Ok(()) | Err(Failure::UnknownItem) => {}
            Err(Failure::Database(error)) => return Err(error),
        }
    }
    Ok(())
}

fn next_request(random: &mut Random) -> Request {
    let tenant = random.choose(TENANTS.iter().map(|tenant| (tenant.share, tenant)));
    let district = random.between(1, DISTRICTS);
    let customer = random.between(1, CUSTOMERS);
    let work = match next_kind(random, &tenant.mix) {
        Kind::NewOrder => Work::NewOrder { district, customer, lines: next_lines(random) },
        Kind::Payment => Work::Payment { district, customer, amount: random.between(100, 500_000) },
        Kind::OrderStatus => Work::OrderStatus {
            customer: if random.percent(60) {
                Customer::LastName(schema::last_name(customer).to_lowercase())
            } else {
                Customer::Number(customer)
            },
        },
        Kind::Delivery => Work::Delivery { carrier: random.between(1, 10) },
        Kind::StockLevel => Work::StockLevel { district, threshold: random.between(10, 20) },
    };
    Request { tenant, work }
}

fn next_kind(random: &mut Random, mix: &Mix) -> Kind {
    random.choose([
        (mix.new_order, Kind::NewOrder),
        (mix.payment, Kind::Payment),
        (mix.order_status, Kind::OrderStatus),
        (mix.delivery, Kind::Delivery),
        (mix.stock_level, Kind::StockLevel),
    ])
}

/// Five to fifteen lines. In one of a hundred orders the last item is unknown, which undoes the others.
fn next_lines(random: &mut Random) -> Vec<Line> {
    let mut lines: Vec<Line> = (0..random.between(5, 15))
        .map(|_| Line { item: random.between(1, ITEMS), quantity: random.between(1, 10) })
        .collect();
    if random.percent(1)
        && let Some(last) = lines.last_mut()
    {
        last.item = ITEMS + 1;
    }
    lines
}
