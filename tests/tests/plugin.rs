//! A plugin that links a copy of the sdk of its own: what it records is apart, and the status says
//! so.
#![cfg(target_os = "linux")]

use std::ffi::CString;

use stagelight_tests::fixture::Fixture;
use stagelight_tests::succeed;

#[stagelight::stage(name = "host.calls")]
fn call(work: extern "C" fn() -> u64) -> u64 {
    work()
}

fn warnings(server: &stagelight_profiler::Server) -> String {
    let status = format!("http://{}/api/v1/status", server.local_addr());
    let status = ureq::get(&status).call().unwrap().body_mut().read_to_string().unwrap();
    serde_json::from_str::<serde_json::Value>(&status).unwrap()["warnings"].to_string()
}

#[test]
fn a_plugin_with_its_own_copy_of_the_sdk_is_told() {
    let server = stagelight_profiler::serve("127.0.0.1:0").unwrap();
    assert!(!warnings(&server).contains("stagelight"), "{}", warnings(&server));
    for profile in ["dev", "release"] {
        let plugin = Fixture::new("plugin");
        succeed(plugin.cargo("build").args(["--profile", profile]));
        let folder = if profile == "dev" { "debug" } else { profile };
        let library = plugin.target().join(folder).join("libplugin.so");
        let path = CString::new(library.to_str().unwrap()).unwrap();
        // SAFETY: what runs as the library is loaded is what runs in any of Rust's.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!handle.is_null());
        // SAFETY: the library has this function, of this type, and is never unloaded.
        let work = unsafe {
            let symbol = libc::dlsym(handle, c"plugin_work".as_ptr());
            assert!(!symbol.is_null());
            std::mem::transmute::<*mut libc::c_void, extern "C" fn() -> u64>(symbol)
        };
        assert_eq!(call(work), 1, "it records for itself");
        let snapshot = stagelight::snapshot();
        assert!(snapshot.stage("plugin.work").is_none() && snapshot.stage("host.calls").is_some());
        let told = warnings(&server);
        let name = library.to_str().unwrap();
        assert!(told.contains(name) && told.contains(env!("CARGO_PKG_VERSION")), "{told}");
    }
}
