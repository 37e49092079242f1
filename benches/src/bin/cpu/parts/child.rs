//! Parts that run in a process of their own, and print one figure a line.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{eintr, floor, kernel, resources, stacks, svg, weights};

/// What the child is told to do.
pub fn run(arguments: &[String]) {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let figures = match words[..] {
        ["weights", hz, threads] => weights::child(number(hz) as u32, number(threads)),
        ["pprof-rs", hz, threads] => weights::peer(number(hz) as i32, number(threads)),
        ["stacks", load] => stacks::child(load),
        ["eintr"] => eintr::child(),
        ["floor", hz] => floor::child(hz.parse().unwrap_or(999)),
        ["kernel"] => kernel::child(),
        ["svg"] => svg::child(),
        ["resources"] => resources::child(),
        _ => Vec::new(),
    };
    figures.iter().for_each(|figure| println!("{figure}"));
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or(1)
}

/// The figures of a child on a rung; none if it failed, or hung, which it has a minute to be found out.
pub fn figures(rung: &str, arguments: &[&str]) -> Vec<f64> {
    const PATIENCE: Duration = Duration::from_secs(60);
    let Ok(program) = std::env::current_exe() else { return Vec::new() };
    let child = Command::new(program)
        .arg("--child")
        .args(arguments)
        .env("STAGELIGHT_CPU_RUNG", rung)
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else { return Vec::new() };
    let start = Instant::now();
    while let Ok(None) = child.try_wait() {
        if start.elapsed() > PATIENCE {
            eprintln!("  {} hung", arguments.join(" "));
            let _ = child.kill();
            let _ = child.wait();
            return Vec::new();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut text = String::new();
    if let Some(mut out) = child.stdout.take() {
        let _ = out.read_to_string(&mut text);
    }
    text.lines().filter_map(|line| line.parse().ok()).collect()
}
