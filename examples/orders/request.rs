//! What a client may ask for.

use crate::tenants::Tenant;

/// One tenant's request: it becomes one transaction.
pub struct Request {
    pub tenant: &'static Tenant,
    pub work: Work,
}

/// The five transactions of TPC-C, somewhat simplified.
pub enum Work {
    NewOrder { district: i64, customer: i64, lines: Vec<Line> },
    Payment { district: i64, customer: i64, amount: i64 },
    OrderStatus { customer: Customer },
    Delivery { carrier: i64 },
    StockLevel { district: i64, threshold: i64 },
}

/// A line of an order.
pub struct Line {
    pub item: i64,
    pub quantity: i64,
}

/// How a client names a customer.
pub enum Customer {
    Number(i64),
    LastName(String),
}

/// The kind of a transaction, without its details.
#[derive(Clone, Copy)]
pub enum Kind {
    NewOrder,
    Payment,
    OrderStatus,
    Delivery,
    StockLevel,
}

impl Work {
    pub fn kind(&self) -> Kind {
        match self {
            Work::NewOrder { .. } => Kind::NewOrder,
            Work::Payment { .. } => Kind::Payment,
            Work::OrderStatus { .. } => Kind::OrderStatus,
            Work::Delivery { .. } => Kind::Delivery,
            Work::StockLevel { .. } => Kind::StockLevel,
        }
    }
}

impl Kind {
    pub const ALL: [Kind; 5] =
        [Kind::NewOrder, Kind::Payment, Kind::OrderStatus, Kind::Delivery, Kind::StockLevel];

    /// The statement key of the transaction as a whole.
    pub fn key(self) -> &'static str {
        match self {
            Kind::NewOrder => "tx:new_order",
            Kind::Payment => "tx:payment",
            Kind::OrderStatus => "tx:order_status",
            Kind::Delivery => "tx:delivery",
            Kind::StockLevel => "tx:stock_level",
        }
    }

    /// The database user that sends such requests.
    pub fn user(self) -> &'static str {
        match self {
            Kind::NewOrder | Kind::Payment => "checkout",
            Kind::OrderStatus => "support",
            Kind::Delivery | Kind::StockLevel => "warehouse",
        }
    }

    /// Whether it changes anything.
    pub fn writes(self) -> bool {
        matches!(self, Kind::NewOrder | Kind::Payment | Kind::Delivery)
    }
}
