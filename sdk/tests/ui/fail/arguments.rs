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

#[stage("unnamed")]
fn name_without_a_word() {}

#[stage(crate = "stagelight")]
fn no_path() {}

#[stage_all(name = "x")]
impl Store {}

struct Store;

fn main() {
    stagelight::stage_block!({ 1 });
    stagelight::stage_block!("name", 1);
}
