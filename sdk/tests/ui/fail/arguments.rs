use stagelight::{query, stage, stage_all};

#[stage(nmae = "typo")]
fn unknown_argument() {}

#[stage(name = 7)]
fn not_text() {}

#[stage(name = "")]
fn empty() {}

#[stage(name = "a", name = "b")]
fn twice() {}

#[stage(name)]
fn no_value() {}

#[stage(skip)]
fn skip_alone() {}

#[stage(tenant = "acme")]
fn labels_belong_to_queries() {}

#[query(key = )]
fn no_expression() {}

#[query(labels = handle, tenant = "acme")]
fn labels_and_one_more() {}

#[stage_all(name = "x")]
impl Store {}

struct Store;

fn main() {}
