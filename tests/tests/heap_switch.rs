//! Sampling of the heap is switched and its rate set while the program runs. In a process of its own: the switch is the
//! process's.
#![cfg(target_os = "linux")]

use stagelight::query;
use stagelight_profiler::{Error, Profile, allocs, heap, sample_heap};

stagelight_profiler::heap_profiler!(lg_sample = 14);

/// 16 MiB, of which some thousand samples are taken, if any.
#[query(key = "keep", tenant = tenant)]
fn keep(tenant: &str) -> Vec<Vec<u8>> {
    (0..2048).map(|_| vec![1; 8 << 10]).collect()
}

fn live(profile: &Profile, tenant: &str) -> i64 {
    profile.filter("tenant", tenant).total()
}

#[test]
fn what_is_sampled_is_switched_while_the_program_runs() {
    let first = keep("first");
    sample_heap(None).unwrap();
    let unseen = keep("unseen");
    let profile = heap().run().unwrap();
    let expected = 16 << 20;
    assert!((live(&profile, "first") - expected).abs() < expected / 5, "{}", live(&profile, "first"));
    assert_eq!(live(&profile, "unseen"), 0);
    let error = allocs().start().unwrap_err();
    assert!(error.to_string().contains("switched off"), "not an empty profile: {error}");

    sample_heap(Some(14)).unwrap();
    let again = keep("again");
    let profile = heap().run().unwrap();
    assert!((live(&profile, "again") - expected).abs() < expected / 5, "{}", live(&profile, "again"));
    assert!(live(&profile, "first") > 0, "at the same rate nothing is forgotten");
    let began = profile.stats().started;

    sample_heap(Some(13)).unwrap();
    let session = allocs().start().unwrap();
    let anew = keep("anew");
    let allocated = session.stop().unwrap();
    assert!((live(&allocated, "anew") - expected).abs() < expected / 5, "{}", live(&allocated, "anew"));
    assert_eq!(allocated.stats().period, 1 << 13);
    let profile = heap().run().unwrap();
    assert!((live(&profile, "anew") - expected).abs() < expected / 5, "{}", live(&profile, "anew"));
    assert_eq!((live(&profile, "first"), live(&profile, "again")), (0, 0));
    assert!(profile.stats().started > began, "it shows since when");
    assert_eq!(profile.stats().period, 1 << 13);
    for rate in [9, 31] {
        let error = sample_heap(Some(rate)).unwrap_err();
        assert!(matches!(error, Error::Invalid(_)) && error.to_string().contains("2^10 to 2^30"), "{error}");
    }
    drop((first, unseen, again, anew));
}
