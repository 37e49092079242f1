//! Labels that are combined in more ways than are told apart: what is given up, and what stays
//! exact. Each case has a process of its own, since what is full stays full.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::Duration;

use stagelight::{LabelKind, LabelStats, Labels, label_fallbacks, query, snapshot};
use stagelight_tests::{child, is_child, skip, succeed};

#[query(name = "fallback.query", key = labels[0], tenant = labels[1], user = labels[2], database = labels[3])]
fn labelled(labels: &[String; 4]) {}

const KINDS: usize = LabelKind::ALL.len();

/// Makes so many queries on three threads, the n-th with the labels that `labels` gives.
fn run(queries: u64, labels: impl Fn(u64) -> [String; KINDS] + Sync) -> [BTreeMap<String, u64>; KINDS] {
    const THREADS: u64 = 3;
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let labels = &labels;
            scope.spawn(move || {
                (thread..queries).step_by(THREADS as usize).for_each(|n| labelled(&labels(n)))
            });
        }
    });
    let mut truth: [BTreeMap<String, u64>; KINDS] = Default::default();
    for n in 0..queries {
        for (truth, value) in truth.iter_mut().zip(labels(n)) {
            *truth.entry(value).or_default() += 1;
        }
    }
    truth
}

fn calls(stats: &[LabelStats]) -> BTreeMap<String, u64> {
    stats.iter().map(|stats| (stats.value.clone(), stats.calls)).collect()
}

/// The n-th of so many values.
fn one_of(n: u64, values: u64) -> String {
    format!("v{}", n % values)
}

/// Runs a case in processes of their own, one for each of these.
fn each(test: &str, cases: &[&str]) {
    for case in cases {
        succeed(child(test).env("CASE", case));
    }
}

fn case() -> String {
    std::env::var("CASE").unwrap()
}

#[test]
fn each_label_that_explodes_leaves_the_others_exact() {
    if !is_child() {
        return each(
            "each_label_that_explodes_leaves_the_others_exact",
            &["statement", "tenant", "user", "database"],
        );
    }
    const QUERIES: u64 = 60_000;
    let exploding = LabelKind::ALL.into_iter().find(|kind| kind.name() == case()).unwrap();
    let few = [7, 8, 5, 3];
    let truth = run(QUERIES, |n| {
        std::array::from_fn(|kind| {
            // A prime, so that each of the values comes with all of the others.
            if kind == exploding as usize { one_of(n, 5_003) } else { one_of(n, few[kind]) }
        })
    });
    let snapshot = snapshot();
    for kind in LabelKind::ALL {
        let stats = snapshot.by_label(kind);
        if kind == exploding {
            assert!(stats.len() <= 1024 && stats.len() > 500, "{} {}s", stats.len(), kind.name());
            assert_eq!(stats.iter().map(|stats| stats.calls).sum::<u64>(), QUERIES);
        } else {
            assert_eq!(calls(stats), truth[kind as usize], "{}", kind.name());
        }
    }
    let [fallback] = &snapshot.label_fallbacks[..] else { panic!("{:?}", snapshot.label_fallbacks) };
    let other = snapshot.by_label(exploding).iter().find(|stats| stats.value == "other").unwrap();
    assert_eq!((fallback.kind, fallback.calls, fallback.of), (exploding, other.calls, QUERIES));
    assert!(fallback.values && fallback.combinations, "{fallback:?}");
    let sentence = fallback.to_string();
    assert!(sentence.starts_with(&format!("{} of 60000 queries", other.calls)), "{sentence}");
    assert!(sentence.contains(&format!("count as {} `other`", exploding.name())), "{sentence}");
    assert_eq!(label_fallbacks(), snapshot.label_fallbacks);
    check_that_people_are_warned(&sentence);
    // Samples of the CPU, of the heap and of locks carry the same number.
    let mut labels: [String; KINDS] = few.map(|few| one_of(1, few));
    labels[exploding as usize] = "never seen".into();
    let set = Labels::new(&labels[0], &labels[1], &labels[2], &labels[3]).values();
    labels[exploding as usize] = "other".into();
    assert_eq!(LabelKind::ALL.map(|kind| set.get(kind)), labels.each_ref().map(String::as_str));
}

/// By the API's status and by the comments of a profile.
fn check_that_people_are_warned(sentence: &str) {
    let server = stagelight_profiler::serve("127.0.0.1:0").unwrap();
    let url = format!("http://{}/api/v1/status", server.local_addr());
    let status = ureq::get(&url).call().unwrap().body_mut().read_to_string().unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["warnings"], serde_json::json!([sentence]));
    let sampler = stagelight_profiler::cpu().duration(Duration::from_millis(20));
    match sampler.run() {
        Ok(profile) => {
            let (mut file, mut raw) = (Vec::new(), Vec::new());
            profile.write_pprof(&mut file).unwrap();
            flate2::read::GzDecoder::new(&file[..]).read_to_end(&mut raw).unwrap();
            let warning = format!("warning: {sentence}");
            assert!(raw.windows(warning.len()).any(|part| part == warning.as_bytes()));
        }
        Err(error) => skip("a warning in a profile", &error.to_string()),
    }
}

#[test]
fn statements_and_tenants_are_kept_however_many_users_there_are() {
    if !is_child() {
        return each(
            "statements_and_tenants_are_kept_however_many_users_there_are",
            &["8 7 37", "8 7 60000", "100 21 1", "100 21 60000", "300 7 2000"],
        );
    }
    let [tenants, statements, users] =
        case().split(' ').map(|n| n.parse().unwrap()).collect::<Vec<u64>>()[..].try_into().unwrap();
    let truth = run(200_000, |n| {
        // A step that has no divisor in common with any, so that all combinations come.
        let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
        let user = if users == 1 { String::new() } else { one_of(n / (tenants * statements), users) };
        [one_of(n / tenants, statements), one_of(n, tenants), user, "main".into()]
    });
    let snapshot = snapshot();
    for kind in [LabelKind::Statement, LabelKind::Tenant, LabelKind::Database] {
        assert_eq!(calls(snapshot.by_label(kind)), truth[kind as usize], "{}", kind.name());
    }
    let users_lost = snapshot.label_fallbacks.iter().map(|fallback| fallback.kind).collect::<Vec<_>>();
    let fits = tenants * statements * users < 2_200;
    assert_eq!(users_lost, if fits { vec![] } else { vec![LabelKind::User] });
}

#[test]
fn a_tenant_keeps_its_figures_where_statements_and_users_explode() {
    if !is_child() {
        return each("a_tenant_keeps_its_figures_where_statements_and_users_explode", &[""]);
    }
    let truth =
        run(60_000, |n| [format!("select {n}"), one_of(n, 500), format!("user {}", n / 2), one_of(n, 3)]);
    let snapshot = snapshot();
    for kind in [LabelKind::Tenant, LabelKind::Database] {
        assert_eq!(calls(snapshot.by_label(kind)), truth[kind as usize], "{}", kind.name());
    }
    let lost = snapshot.label_fallbacks.iter().map(|fallback| fallback.kind).collect::<Vec<_>>();
    assert_eq!(lost, [LabelKind::Statement, LabelKind::User]);
}

#[test]
fn tenants_that_come_once_users_took_what_they_could_are_told_apart() {
    if !is_child() {
        return each("tenants_that_come_once_users_took_what_they_could_are_told_apart", &[""]);
    }
    const QUERIES: u64 = 60_000;
    let labels = |n: u64, tenants: u64| {
        [one_of(n, 3), one_of(n / 3, tenants), format!("user {}", n % 20_011), String::new()]
    };
    run(QUERIES, |n| labels(n, 2));
    let before = calls(&snapshot().tenants);
    assert_eq!(before.len(), 2);
    let [_, tenants, ..] = run(QUERIES, |n| labels(n, 150));
    let mut after = calls(&snapshot().tenants);
    for (tenant, before) in before {
        *after.get_mut(&tenant).unwrap() -= before;
    }
    assert_eq!(after, tenants);
}

#[query(name = "fallback.busy", key = labels[0], tenant = labels[1], user = labels[2])]
fn busy(labels: &[String; 4]) {
    stagelight_tests::burn(4_000_000);
}

#[test]
fn samples_know_their_tenant_however_many_users_there_are() {
    if !is_child() {
        return each("samples_know_their_tenant_however_many_users_there_are", &[""]);
    }
    let labels = |n: u64| [one_of(n, 7), one_of(n, 8), format!("user {n}"), String::new()];
    run(60_000, labels);
    let session = match stagelight_profiler::cpu().hz(999).start() {
        Ok(session) => session,
        Err(error) => return skip("samples of many users", &error.to_string()),
    };
    (100_000..100_080).for_each(|n| busy(&labels(n)));
    let profile = session.stop().unwrap();
    let values = |label: &str| {
        let totals = profile.label_totals(label).into_iter().map(|(value, _)| value);
        let mut values: Vec<_> = totals.filter(|value| !value.is_empty()).collect();
        values.sort();
        values
    };
    assert_eq!(values("tenant"), (0..8).map(|n| format!("v{n}")).collect::<Vec<_>>());
    assert_eq!(values("statement"), (0..7).map(|n| format!("v{n}")).collect::<Vec<_>>());
    assert_eq!(values("user"), ["other"]);
}
