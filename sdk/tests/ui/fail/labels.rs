use stagelight::query;

struct Tenant;

#[query(tenant = tenant)]
fn not_a_label(tenant: &Tenant) {}

#[query(key = statement.missing)]
fn no_such_field(statement: &Tenant) {}

#[query(user = missing)]
fn no_such_argument() {}

fn main() {}
