//! The tenants and how they differ.

/// A customer of the service, with rows of its own in every table.
pub struct Tenant {
    /// The label under which profiles and metrics show it.
    pub name: &'static str,
    /// Its place in [`TENANTS`] and the value of the column `tenant`.
    pub id: usize,
    /// Its requests in a hundred of all.
    pub share: u32,
    /// What it asks for, in a hundred of its requests.
    pub mix: Mix,
    /// How it looks up customers by name.
    pub name_lookup: NameLookup,
    /// Encoded replies that its session cache keeps.
    pub cached_replies: usize,
}

/// Percentages of each kind of request. They add up to 100.
pub struct Mix {
    pub new_order: u32,
    pub payment: u32,
    pub order_status: u32,
    pub delivery: u32,
    pub stock_level: u32,
}

/// Two ways to ask the same.
pub enum NameLookup {
    /// By the columns of an index.
    Indexed,
    /// By an expression over these columns, which no index serves: SQLite reads every customer there is.
    Scan,
}

/// What a shop asks for; these are TPC-C's shares.
const SHOP: Mix = Mix { new_order: 45, payment: 43, order_status: 4, delivery: 4, stock_level: 4 };

/// A call centre mostly asks how orders stand.
const CALL_CENTRE: Mix = Mix { new_order: 10, payment: 10, order_status: 72, delivery: 4, stock_level: 4 };

/// Skewed, as tenants are: the largest sends eight times as much as the smallest.
///
/// Two of them stand out. `umbrella` is the one with the bad plan, and the cache of `globex` shows in the heap
/// profile.
pub static TENANTS: [Tenant; 8] = [
    Tenant::shop("acme", 0, 32),
    Tenant { cached_replies: 20_000, ..Tenant::shop("globex", 1, 21) },
    Tenant::shop("initech", 2, 15),
    Tenant::shop("hooli", 3, 10),
    Tenant::shop("stark", 4, 8),
    Tenant { mix: CALL_CENTRE, name_lookup: NameLookup::Scan, ..Tenant::shop("umbrella", 5, 5) },
    Tenant::shop("wayne", 6, 5),
    Tenant::shop("tyrell", 7, 4),
];

impl Tenant {
    const fn shop(name: &'static str, id: usize, share: u32) -> Self {
        Self { name, id, share, mix: SHOP, name_lookup: NameLookup::Indexed, cached_replies: 1_000 }
    }

    /// The value of the column `tenant`.
    pub fn key(&self) -> i64 {
        self.id as i64
    }
}
