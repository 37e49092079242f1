//! The statements of the service: their keys and their SQL.

/// All statements of the service.
#[derive(Clone, Copy)]
pub enum Statement {
    NewOrderCustomer,
    NewOrderNumber,
    NewOrderItem,
    NewOrderTakeStock,
    NewOrderInsert,
    NewOrderInsertLine,
    NewOrderQueue,
    PaymentDistrict,
    PaymentCustomer,
    PaymentInsert,
    OrderStatusByNumber,
    OrderStatusByName,
    OrderStatusByNameScan,
    OrderStatusLastOrder,
    OrderStatusLines,
    DeliveryDequeue,
    DeliveryCarrier,
    DeliveryTotal,
    DeliveryBill,
    StockLevelLow,
}

impl Statement {
    pub const ALL: [Statement; 20] = [
        Statement::NewOrderCustomer,
        Statement::NewOrderNumber,
        Statement::NewOrderItem,
        Statement::NewOrderTakeStock,
        Statement::NewOrderInsert,
        Statement::NewOrderInsertLine,
        Statement::NewOrderQueue,
        Statement::PaymentDistrict,
        Statement::PaymentCustomer,
        Statement::PaymentInsert,
        Statement::OrderStatusByNumber,
        Statement::OrderStatusByName,
        Statement::OrderStatusByNameScan,
        Statement::OrderStatusLastOrder,
        Statement::OrderStatusLines,
        Statement::DeliveryDequeue,
        Statement::DeliveryCarrier,
        Statement::DeliveryTotal,
        Statement::DeliveryBill,
        Statement::StockLevelLow,
    ];

    /// The key under which profiles and metrics show it.
    pub fn key(self) -> &'static str {
        self.key_and_sql().0
    }

    pub fn sql(self) -> &'static str {
        self.key_and_sql().1
    }

    fn key_and_sql(self) -> (&'static str, &'static str) {
        match self {
            Statement::NewOrderCustomer => {
                ("new_order.customer", "SELECT discount, last FROM customer WHERE tenant = ? AND id = ?")
            }
            Statement::NewOrderNumber => (
                "new_order.number",
                "UPDATE district SET next_order = next_order + 1 WHERE tenant = ? AND id = ?
                 RETURNING next_order - 1, tax",
            ),
            Statement::NewOrderItem => ("new_order.item", "SELECT name, price FROM item WHERE id = ?"),
            Statement::NewOrderTakeStock => (
                "new_order.take_stock",
                "UPDATE stock SET sold = sold + ?3,
                     quantity = CASE WHEN quantity >= ?3 + 10 THEN quantity - ?3 ELSE quantity - ?3 + 91 END
                 WHERE tenant = ?1 AND item = ?2",
            ),
            Statement::NewOrderInsert => ("new_order.insert", "INSERT INTO orders VALUES (?, ?, ?, ?, NULL)"),
            Statement::NewOrderInsertLine => {
                ("new_order.insert_line", "INSERT INTO order_line VALUES (?, ?, ?, ?, ?, ?, ?)")
            }
            Statement::NewOrderQueue => ("new_order.queue", "INSERT INTO undelivered VALUES (?, ?, ?)"),
            Statement::PaymentDistrict => {
                ("payment.district", "UPDATE district SET paid = paid + ?3 WHERE tenant = ?1 AND id = ?2")
            }
            Statement::PaymentCustomer => (
                "payment.customer",
                "UPDATE customer SET balance = balance - ?3 WHERE tenant = ?1 AND id = ?2
                 RETURNING last, balance",
            ),
            Statement::PaymentInsert => ("payment.insert", "INSERT INTO payment VALUES (?, ?, ?)"),
            Statement::OrderStatusByNumber => {
                ("order_status.by_number", "SELECT id, last FROM customer WHERE tenant = ? AND id = ?")
            }
            Statement::OrderStatusByName => (
                "order_status.by_name",
                "SELECT id, last FROM customer WHERE tenant = ? AND last = upper(?) ORDER BY id",
            ),
            // The bad plan. The index is on (tenant, last); this asks for an expression over the two.
            Statement::OrderStatusByNameScan => (
                "order_status.by_name_scan",
                "SELECT id, last FROM customer WHERE tenant || ':' || lower(last) = ?1 || ':' || lower(?2)
                 ORDER BY id",
            ),
            Statement::OrderStatusLastOrder => (
                "order_status.last_order",
                "SELECT district, id FROM orders WHERE tenant = ? AND customer = ? ORDER BY id DESC LIMIT 1",
            ),
            Statement::OrderStatusLines => (
                "order_status.lines",
                "SELECT name, quantity, amount FROM order_line JOIN item ON item.id = order_line.item
                 WHERE tenant = ? AND district = ? AND order_id = ?",
            ),
            Statement::DeliveryDequeue => (
                "delivery.dequeue",
                "DELETE FROM undelivered WHERE tenant = ?1 AND district = ?2 AND order_id =
                     (SELECT min(order_id) FROM undelivered WHERE tenant = ?1 AND district = ?2)
                 RETURNING order_id",
            ),
            Statement::DeliveryCarrier => (
                "delivery.carrier",
                "UPDATE orders SET carrier = ?4 WHERE tenant = ?1 AND district = ?2 AND id = ?3
                 RETURNING customer",
            ),
            Statement::DeliveryTotal => (
                "delivery.total",
                "SELECT sum(amount) FROM order_line WHERE tenant = ? AND district = ? AND order_id = ?",
            ),
            Statement::DeliveryBill => {
                ("delivery.bill", "UPDATE customer SET balance = balance + ?3 WHERE tenant = ?1 AND id = ?2")
            }
            Statement::StockLevelLow => (
                "stock_level.low",
                "SELECT DISTINCT name, stock.quantity, price
                 FROM district
                 JOIN order_line ON order_line.tenant = district.tenant
                     AND order_line.district = district.id
                     AND order_id BETWEEN next_order - 20 AND next_order - 1
                 JOIN stock ON stock.tenant = district.tenant AND stock.item = order_line.item
                 JOIN item ON item.id = order_line.item
                 WHERE district.tenant = ? AND district.id = ? AND stock.quantity < ?",
            ),
        }
    }
}
