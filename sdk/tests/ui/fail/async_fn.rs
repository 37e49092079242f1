#[stagelight::stage]
async fn later() {}

#[stagelight::query(key = "q")]
async fn later_query() -> Result<(), ()> {
    Ok(())
}

#[stagelight::stage]
fn future() -> impl std::future::Future<Output = ()> {
    std::future::ready(())
}

fn main() {}
