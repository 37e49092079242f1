//! The five transactions, statement by statement.

use rusqlite::params;

use crate::pricing::{self, Terms};
use crate::reply::{Reply, ReplyLine};
use crate::request::{Customer, Line};
use crate::schema::DISTRICTS;
use crate::service::Failure;
use crate::session::Session;
use crate::statement::Statement;
use crate::tenants::NameLookup;

impl Session<'_> {
    pub fn new_order(&self, district: i64, customer: i64, lines: &[Line]) -> Result<Reply, Failure> {
        let tenant = self.tenant.key();
        let (discount, last_name) =
            self.execute_one::<(i64, String)>(Statement::NewOrderCustomer, params![tenant, customer])?;
        let (order, tax) =
            self.execute_one::<(i64, i64)>(Statement::NewOrderNumber, params![tenant, district])?;
        self.change(Statement::NewOrderInsert, params![tenant, district, order, customer])?;
        self.change(Statement::NewOrderQueue, params![tenant, district, order])?;

        let terms = Terms { discount, tax };
        let mut reply = Reply::new("new order", last_name);
        for (number, line) in (1_i64..).zip(lines) {
            let mut item = self.execute::<(String, i64)>(Statement::NewOrderItem, params![line.item])?;
            let (name, price) = item.pop().ok_or(Failure::UnknownItem)?;
            self.change(Statement::NewOrderTakeStock, params![tenant, line.item, line.quantity])?;
            let amount = pricing::amount(line.quantity, price, &terms);
            self.change(
                Statement::NewOrderInsertLine,
                params![tenant, district, order, number, line.item, line.quantity, amount],
            )?;
            reply.lines.push(ReplyLine { text: name, quantity: line.quantity, amount });
        }
        Ok(reply)
    }

    pub fn payment(&self, district: i64, customer: i64, amount: i64) -> Result<Reply, Failure> {
        let tenant = self.tenant.key();
        self.change(Statement::PaymentDistrict, params![tenant, district, amount])?;
        let (last_name, balance) =
            self.execute_one::<(String, i64)>(Statement::PaymentCustomer, params![tenant, customer, amount])?;
        self.change(Statement::PaymentInsert, params![tenant, customer, amount])?;
        let mut reply = Reply::new("payment", last_name);
        reply.lines.push(ReplyLine { text: "balance".into(), quantity: 1, amount: balance });
        Ok(reply)
    }

    /// How a customer's last order stands.
    pub fn order_status(&self, customer: &Customer) -> Result<Reply, Failure> {
        let tenant = self.tenant.key();
        let mut found: Vec<(i64, String)> = match (customer, &self.tenant.name_lookup) {
            (Customer::Number(id), _) => self.execute(Statement::OrderStatusByNumber, params![tenant, id]),
            (Customer::LastName(name), NameLookup::Indexed) => {
                self.execute(Statement::OrderStatusByName, params![tenant, name])
            }
            (Customer::LastName(name), NameLookup::Scan) => {
                self.execute(Statement::OrderStatusByNameScan, params![tenant, name])
            }
        }?;
        // Of several who share a name, TPC-C takes the one in the middle.
        let (id, last_name) = found.swap_remove(found.len() / 2);
        let mut reply = Reply::new("order status", last_name);
        let last_order = self.execute::<(i64, i64)>(Statement::OrderStatusLastOrder, params![tenant, id])?;
        if let Some((district, order)) = last_order.first() {
            reply.lines = self.execute(Statement::OrderStatusLines, params![tenant, district, order])?;
        }
        Ok(reply)
    }

    /// Delivers the oldest order of every district that has one.
    pub fn delivery(&self, carrier: i64) -> Result<Reply, Failure> {
        let tenant = self.tenant.key();
        let mut reply = Reply::new("delivery", format!("carrier {carrier}"));
        for district in 1..=DISTRICTS {
            let dequeued = self.execute::<(i64,)>(Statement::DeliveryDequeue, params![tenant, district])?;
            let Some((order,)) = dequeued.first() else { continue };
            let (customer,) = self.execute_one::<(i64,)>(
                Statement::DeliveryCarrier,
                params![tenant, district, order, carrier],
            )?;
            let (amount,) =
                self.execute_one::<(i64,)>(Statement::DeliveryTotal, params![tenant, district, order])?;
            self.change(Statement::DeliveryBill, params![tenant, customer, amount])?;
            reply.lines.push(ReplyLine { text: format!("order {order}"), quantity: 1, amount });
        }
        Ok(reply)
    }

    /// What a district sold of late and is running out of.
    pub fn stock_level(&self, district: i64, threshold: i64) -> Result<Reply, Failure> {
        let mut reply = Reply::new("stock level", format!("district {district}"));
        reply.lines =
            self.execute(Statement::StockLevelLow, params![self.tenant.key(), district, threshold])?;
        Ok(reply)
    }
}
