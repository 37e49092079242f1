//! A service with a cache for each tenant, one of which leaks. `docs/leak.md` shows how to find where.
//!
//! ```console
//! cargo run --release --example leak
//! ```

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use stagelight::{query, stage};

// jemalloc as the allocator, sampling from the start: one in 64 KiB, since the caches are small. Real ones do with the default.
stagelight_profiler::heap_profiler!(lg_sample = 16);

/// Serves pages out of caches, and the control API.
#[derive(Parser)]
struct Args {
    /// How long to run.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// Where the control API listens.
    #[arg(long, default_value = "127.0.0.1:6060")]
    listen: String,
}

const TENANTS: [&str; 4] = ["acme", "globex", "initech", "umbrella"];

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let server = stagelight_profiler::serve(args.listen)?;
    // Live bytes by tenant in /metrics, looked at when somebody asks and the last look is five seconds old.
    stagelight_profiler::heap_metrics(Duration::from_secs(5))?;
    eprintln!("listening on http://{}", server.local_addr());
    let end = Instant::now() + Duration::from_secs(args.seconds);
    thread::scope(|scope| {
        for tenant in TENANTS {
            scope.spawn(move || serve(tenant, end));
        }
    });
    Ok(())
}

/// One tenant's requests, 500 a second.
fn serve(tenant: &'static str, end: Instant) {
    let mut cache = Cache::default();
    let mut number = 0;
    while Instant::now() < end {
        number += 1;
        if tenant == "umbrella" && number % 5 == 0 {
            // Its editors look at drafts, each in a session of their own.
            show_draft(&mut cache, tenant, number);
        } else {
            show_page(&mut cache, tenant, number % 1_000);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

#[query(key = "show page", tenant = tenant)]
fn show_page(cache: &mut Cache, tenant: &'static str, page: u64) -> usize {
    cache.page(page).len()
}

#[query(key = "show draft", tenant = tenant)]
fn show_draft(cache: &mut Cache, tenant: &'static str, session: u64) -> usize {
    cache.preview(session).len()
}

/// Pages that were rendered.
#[derive(Default)]
struct Cache {
    pages: HashMap<u64, Vec<u8>>,
    /// The pages from the oldest on.
    order: VecDeque<u64>,
    previews: HashMap<u64, Vec<u8>>,
}

impl Cache {
    /// Pages that are kept.
    const PAGES: usize = 256;

    #[stage]
    fn page(&mut self, page: u64) -> &[u8] {
        if !self.pages.contains_key(&page) {
            if self.order.len() == Self::PAGES
                && let Some(oldest) = self.order.pop_front()
            {
                self.pages.remove(&oldest);
            }
            self.order.push_back(page);
            self.pages.insert(page, render(page));
        }
        &self.pages[&page]
    }

    #[stage]
    fn preview(&mut self, session: u64) -> &[u8] {
        // The leak: sessions end, and nobody takes their previews out.
        self.previews.entry(session).or_insert_with(|| render(session))
    }
}

#[stage]
fn render(page: u64) -> Vec<u8> {
    let mut html = Vec::with_capacity(16 << 10);
    while html.len() < 16_000 {
        html.extend_from_slice(format!("<p>Line {} of page {page}</p>\n", html.len()).as_bytes());
    }
    html
}
