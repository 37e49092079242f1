use stagelight::{query, stage, stage_all};

#[stage]
struct NotAFunction;

#[stage]
const fn constant() {}

trait Engine {
    #[stage]
    fn without_a_body(&self);
}

#[stage]
impl NotAFunction {}

#[stage_all]
fn function() {}

#[query]
mod module {}

fn main() {}
