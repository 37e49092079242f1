//! A sync guard belongs to its thread, so it can't be held where a future may move to another.

async fn pause() {}

async fn holds() {
    stagelight::stage_block!("held", { pause().await })
}

fn spawn(_future: impl Future<Output = ()> + Send) {}

fn main() {
    spawn(holds());
}
