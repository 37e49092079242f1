use stagelight::query;

struct Tenant;

#[query(tenant = tenant)]
fn not_a_label(tenant: &Tenant) {}

#[query(key = statement.missing)]
fn no_such_field(statement: &Tenant) {}

#[query(user = missing)]
fn no_such_argument() {}

#[query(labels = "not interned")]
fn not_labels() {}

fn main() {}
