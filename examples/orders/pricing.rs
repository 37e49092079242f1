//! What an order costs: a stage of pure Rust.

use stagelight::stage;

use crate::truth::{self, Stage};

/// The terms of a customer and a district, in hundredths of a percent.
pub struct Terms {
    pub discount: i64,
    pub tax: i64,
}

/// Rebates by quantity: from that many pieces on, that many hundredths of a percent.
const REBATES: [(i64, i64); 4] = [(1, 0), (3, 100), (5, 250), (8, 400)];

/// The amount of a line in cents.
#[stage(name = "pricing")]
pub fn amount(quantity: i64, price: i64, terms: &Terms) -> i64 {
    truth::count_stage(Stage::Pricing);
    let rebate = REBATES.iter().rev().find(|(from, _)| quantity >= *from).map_or(0, |(_, rebate)| *rebate);
    let net = percent(percent(quantity * price, -rebate), -terms.discount);
    percent(net, terms.tax)
}

/// The amount changed by a percentage, rounded to the nearest cent.
fn percent(amount: i64, hundredths: i64) -> i64 {
    (amount * (10_000 + hundredths) + 5_000) / 10_000
}
