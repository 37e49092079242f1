//! The check of the options that a program gives jemalloc through `heap_profiler!`, made as it is
//! compiled: jemalloc itself would only print a line at the start, and go on without the option.

/// What the macro sets by itself. Another value would take the profiles away, or change what they say.
const SET_HERE: [&str; 8] = [
    "prof",
    "prof_active",
    "prof_accum",
    "prof_bt_max",
    "prof_thread_active_init",
    "prof_unbias",
    "lg_prof_sample",
    "disable_large_size_classes",
];

/// Those of jemalloc 5.3.1 that are on or off.
const SWITCHES: [&str; 23] = [
    "abort",
    "abort_conf",
    "background_thread",
    "cache_oblivious",
    "confirm_conf",
    "experimental_hpa_enforce_hugify",
    "experimental_hpa_start_huge_if_thp_always",
    "experimental_tcache_gc",
    "hpa",
    "hpa_hugify_sync",
    "huge_arena_pac_thp",
    "prof_final",
    "prof_gdump",
    "prof_leak",
    "prof_leak_error",
    "prof_pid_namespace",
    "prof_stats",
    "prof_sys_thread_name",
    "retain",
    "stats_print",
    "tcache",
    "trust_madvise",
    "zero",
];

/// Those that have another value.
const VALUES: [&str; 47] = [
    "bin_shards",
    "calloc_madvise_threshold",
    "debug_double_free_max_scan",
    "dirty_decay_ms",
    "dss",
    "experimental_hpa_max_purge_nhp",
    "hpa_dirty_mult",
    "hpa_hugification_threshold",
    "hpa_hugification_threshold_ratio",
    "hpa_hugify_delay_ms",
    "hpa_min_purge_delay_ms",
    "hpa_min_purge_interval_ms",
    "hpa_purge_threshold",
    "hpa_purge_threshold_ratio",
    "hpa_sec_batch_fill_extra",
    "hpa_sec_max_alloc",
    "hpa_sec_max_bytes",
    "hpa_sec_nshards",
    "hpa_slab_max_alloc",
    "lg_extent_max_active_fit",
    "lg_prof_interval",
    "lg_tcache_flush_large_div",
    "lg_tcache_flush_small_div",
    "lg_tcache_max",
    "lg_tcache_nslots_mul",
    "max_background_threads",
    "metadata_thp",
    "mutex_max_spin",
    "muzzy_decay_ms",
    "narenas",
    "oversize_threshold",
    "percpu_arena",
    "process_madvise_max_batch",
    "prof_prefix",
    "prof_recent_alloc_max",
    "prof_time_resolution",
    "san_guard_large",
    "san_guard_small",
    "slab_sizes",
    "stats_interval",
    "stats_interval_opts",
    "stats_print_opts",
    "tcache_gc_delay_bytes",
    "tcache_gc_incr_bytes",
    "tcache_max",
    "tcache_ncached_max",
    "thp",
];

/// What is wrong with options, in words and with the option's name.
#[derive(Clone, Copy)]
pub struct Fault {
    text: [u8; Self::ROOM],
    length: usize,
}

impl Fault {
    const ROOM: usize = 256;

    const fn new(before: &str, name: &[u8], after: &str) -> Self {
        let fault = Self { text: [0; Self::ROOM], length: 0 };
        // A name that is too long to be one is cut.
        let (name, _) = name.split_at(if name.len() < 48 { name.len() } else { 48 });
        fault.push(before.as_bytes()).push(name).push(after.as_bytes())
    }

    const fn push(mut self, text: &[u8]) -> Self {
        let mut index = 0;
        while index < text.len() && self.length < Self::ROOM {
            self.text[self.length] = text[index];
            self.length += 1;
            index += 1;
        }
        self
    }

    /// In words.
    #[must_use]
    pub const fn words(&self) -> &str {
        match std::str::from_utf8(self.text.split_at(self.length).0) {
            Ok(words) => words,
            Err(_) => "options of jemalloc are plain text",
        }
    }
}

/// What is wrong with options that a program gives, if anything is. They are `name:value` pairs with
/// a comma between.
#[must_use]
pub const fn fault(options: &str) -> Option<Fault> {
    let mut rest = options.as_bytes();
    loop {
        let (pair, after) = rest.split_at(until(rest, b','));
        let (name, value) = pair.split_at(until(pair, b':'));
        if name.is_empty() || value.len() < 2 || !is_plain(pair) {
            return Some(Fault::new(
                "options of jemalloc are pairs with a comma between, such as \
                 \"background_thread:true,dirty_decay_ms:5000\"; this is none: \"",
                pair,
                "\"",
            ));
        }
        if is_one_of(name, &["lg_prof_sample"]) {
            return Some(Fault::new("", name, " is given as `heap_profiler!(lg_sample = …)`"));
        }
        if is_one_of(name, &SET_HERE) {
            return Some(Fault::new(
                "",
                name,
                " is set by heap_profiler! itself, for its profiles rest on it; leave it out",
            ));
        }
        let switch = is_one_of(name, &SWITCHES);
        if switch && !is_one_of(value, &[":true", ":false"]) {
            return Some(Fault::new("", name, " is either true or false"));
        }
        if !switch && !is_one_of(name, &VALUES) {
            return Some(Fault::new("jemalloc 5.3 has no option \"", name, "\"; its manual lists them"));
        }
        match after {
            [] => return None,
            [_, after @ ..] => rest = after,
        }
    }
}

/// Where the byte comes first, or the length.
const fn until(text: &[u8], byte: u8) -> usize {
    let mut index = 0;
    while index < text.len() && text[index] != byte {
        index += 1;
    }
    index
}

/// Whether all of it can be seen.
const fn is_plain(text: &[u8]) -> bool {
    let mut index = 0;
    while index < text.len() {
        if !text[index].is_ascii_graphic() {
            return false;
        }
        index += 1;
    }
    true
}

const fn is_one_of(text: &[u8], names: &[&str]) -> bool {
    let mut index = 0;
    while index < names.len() {
        if is_same(text, names[index].as_bytes()) {
            return true;
        }
        index += 1;
    }
    false
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut index = 0;
    while index < one.len() && one[index] == other[index] {
        index += 1;
    }
    index == one.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_jemalloc_takes_pass() {
        for options in [
            "background_thread:true",
            "background_thread:true,max_background_threads:2,dirty_decay_ms:-1",
            "slab_sizes:1-4096:17|100-200:1,narenas:4",
            "stats_print:true,stats_print_opts:J",
            "prof_prefix:/var/tmp/heap",
        ] {
            assert!(fault(options).is_none(), "{options}: {}", fault(options).unwrap().words());
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_be_right() {
        for (options, words) in [
            ("", "pairs with a comma between"),
            ("background_thread", "this is none: \"background_thread\""),
            ("background_thread:", "pairs"),
            ("tcache:true,", "pairs"),
            (" tcache:true", "pairs"),
            ("tcache:true;narenas:1", "tcache is either true or false"),
            ("tcache:tr\0ue", "pairs"),
            ("background_thread:yes", "background_thread is either true or false"),
            ("backgroud_thread:true", "no option \"backgroud_thread\""),
            ("tcache:false,prof:false", "prof is set by heap_profiler!"),
            ("lg_prof_sample:17", "lg_sample = "),
            ("prof_accum:true", "prof_accum is set"),
        ] {
            let fault = fault(options).unwrap_or_else(|| panic!("{options} passes"));
            assert!(fault.words().contains(words), "{options}: {}", fault.words());
        }
        let long = "x".repeat(1000);
        assert!(fault(&format!("{long}:1")).unwrap().words().contains("no option"));
    }

    /// An option that jemalloc does not have would be told to users as right.
    #[test]
    fn jemalloc_knows_each_option() {
        // Of some it tells no value, as they turn into others.
        const UNTOLD: [&str; 10] = [
            "bin_shards",
            "calloc_madvise_threshold",
            "hpa_hugification_threshold_ratio",
            "hpa_purge_threshold_ratio",
            "lg_tcache_max",
            "prof_unbias",
            "san_guard_large",
            "san_guard_small",
            "slab_sizes",
            "tcache_ncached_max",
        ];
        let knows = |name: &str| {
            let key = std::ffi::CString::new(format!("opt.{name}")).unwrap();
            let (nothing, mut size) = (std::ptr::null_mut(), 0_usize);
            // SAFETY: with no place for a value jemalloc writes none.
            let error =
                unsafe { tikv_jemalloc_sys::mallctl(key.as_ptr(), nothing, &raw mut size, nothing, 0) };
            error != libc::ENOENT
        };
        let all = || SWITCHES.iter().chain(&VALUES).chain(&SET_HERE);
        let unknown: Vec<_> = all().filter(|name| !knows(name)).collect();
        assert_eq!(unknown, all().filter(|name| UNTOLD.contains(name)).collect::<Vec<_>>());
    }
}
