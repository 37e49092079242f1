//! A program that does not declare the heap profiler is told so, and the rest works.

use stagelight_profiler::Error;

#[test]
fn the_reason_is_named() {
    let error = stagelight_profiler::heap().run().unwrap_err();
    assert!(matches!(error, Error::Unsupported(_)), "{error}");
    // What the program could declare.
    let wanted = if cfg!(feature = "heap") { "heap_profiler!" } else { "stagelight_profiler::Sampler" };
    assert!(!cfg!(target_os = "linux") || error.to_string().contains(wanted), "{error}");
    assert!(matches!(stagelight_profiler::allocs().run(), Err(Error::Unsupported(_))));
    let metrics = stagelight_profiler::heap_metrics(std::time::Duration::from_secs(60));
    assert!(matches!(metrics, Err(Error::Unsupported(_))));
}
