//! What the tests of the CPU profiler's rungs share.

use std::process::Command;

use crate::child;

/// The rungs as `STAGELIGHT_CPU_RUNG` names them, from the highest down.
pub const RUNGS: [&str; 4] = ["perf-sigtrap", "perf-setsig", "ctimer", "sampler-thread"];

/// Why a rung can't be had here, if it can't. The test program must have a test `probe` that, as a child, starts a profile
/// and prints `refused: ` and the error if it can't.
///
/// # Panics
/// If the child can't be started.
#[must_use]
pub fn refused(rung: &str) -> Option<String> {
    let output = child("probe").env("STAGELIGHT_CPU_RUNG", rung).output().expect("a child can be started");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|line| Some(line.split_once("refused: ")?.1.to_owned()))
}

/// Hands over a command that runs one test of this test program as a user without privileges, from a copy that this user
/// can read. Only root can.
///
/// # Panics
/// If the copy can't be made.
pub fn as_nobody(test: &str, run: impl FnOnce(&mut Command)) {
    use std::os::unix::process::CommandExt as _;

    let place = std::env::temp_dir().join(format!("stagelight-{}-{test}", std::process::id()));
    let program = place.join("test");
    std::fs::create_dir_all(&place).expect("a folder can be made");
    std::fs::copy(std::env::current_exe().expect("the test program has a path"), &program)
        .expect("the test program can be copied");
    crate::succeed(Command::new("chmod").args(["-R", "755"]).arg(&place));
    let mut command = Command::new(program);
    command.args(["--exact", test, "--nocapture"]).env("STAGELIGHT_TEST_CHILD", "1");
    run(command.uid(65534).gid(65534).current_dir("/"));
    // A folder that is left in the temporary one harms nobody.
    let _ = std::fs::remove_dir_all(place);
}

/// From here on the system calls fail with `EPERM`, as they do under a container's filter.
///
/// # Panics
/// If the kernel has no filters.
pub fn forbid(calls: &[libc::c_long]) {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, k| libc::sock_filter { code, jt, jf: 0, k };
    let mut program = vec![step(LOAD, 0, 0)];
    for (index, call) in calls.iter().enumerate() {
        program.push(step(EQUAL, (calls.len() - index) as u8, *call as u32));
    }
    program.push(step(RETURN, 0, libc::SECCOMP_RET_ALLOW));
    program.push(step(RETURN, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32));
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the program outlives the calls, which read it.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}
