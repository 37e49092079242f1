//! Options of jemalloc's own that a program gives with `heap_profiler!`.
#![cfg(all(target_os = "linux", feature = "heap"))]

stagelight_profiler::heap_profiler!(
    options = "background_thread:true,max_background_threads:1",
    lg_sample = 14
);

#[test]
fn jemalloc_takes_the_options_and_profiles_are_there_all_the_same() {
    let kept: Vec<Vec<u8>> = (0..1000).map(|_| vec![1; 4096]).collect();
    let threads = std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("comm")).ok());
    let names: Vec<String> = threads.collect();
    assert!(names.iter().any(|name| name.trim() == "jemalloc_bg_thd"), "{names:?}");
    let profile = stagelight_profiler::heap().run().unwrap();
    assert!(profile.stats().samples > 10, "{:?}", profile.stats());
    drop(kept);
}
