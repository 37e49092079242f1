//! Works on the profiles that Stagelight writes.

use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::prelude::*;
use stagelight_profiler::__pprof::readable;

mod binary;
mod file;
mod symbolize;

const HELP: &str = "\
stagelight works on the profiles that Stagelight writes.

stagelight symbolize IN.pb.gz --binary PATH [--binary PATH ...] -o OUT.pb.gz

  Fills in functions, inlined functions, files and lines, for a profile of a stripped program or one that was taken with
  names alone. PATH is the unstripped program, a library, or a file of its debug information; what it is the file for is
  told by its build id.
";

fn main() -> ExitCode {
    match run() {
        Ok(report) => {
            print!("{}", readable_lines(&report));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprint!("stagelight: {}", readable_lines(&error));
            ExitCode::FAILURE
        }
    }
}

/// What may be printed, whatever names the profile and the files have.
fn readable_lines(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", readable(line))).collect()
}

/// What is said when all went well, or why it did not.
fn run() -> Result<String, String> {
    let mut arguments = lexopt::Parser::from_env();
    let wrong = |error: lexopt::Error| format!("{error}; `stagelight --help` says what there is");
    match arguments.next().map_err(wrong)? {
        Some(Value(command)) if command == "symbolize" => symbolize(arguments),
        Some(Short('h') | Long("help")) => Ok(HELP.into()),
        Some(Short('V') | Long("version")) => Ok(format!("stagelight {}\n", env!("CARGO_PKG_VERSION"))),
        Some(other) => Err(wrong(other.unexpected())),
        None => Err(format!("what shall it do?\n\n{HELP}")),
    }
}

fn symbolize(mut arguments: lexopt::Parser) -> Result<String, String> {
    let wrong = |error: lexopt::Error| format!("{error}; `stagelight --help` says what there is");
    let (mut input, mut output, mut binaries) = (None, None, Vec::new());
    while let Some(argument) = arguments.next().map_err(wrong)? {
        match argument {
            Short('o') | Long("output") => output = Some(PathBuf::from(arguments.value().map_err(wrong)?)),
            Short('b') | Long("binary") => binaries.push(PathBuf::from(arguments.value().map_err(wrong)?)),
            Short('h') | Long("help") => return Ok(HELP.into()),
            Value(path) if input.is_none() => input = Some(PathBuf::from(path)),
            other => return Err(wrong(other.unexpected())),
        }
    }
    let input = input.ok_or("which profile? Give it as IN.pb.gz")?;
    let output = output.ok_or("where to? Give it as -o OUT.pb.gz")?;
    if binaries.is_empty() {
        return Err("where are the names? Give the unstripped program as --binary PATH".into());
    }
    let mut profile = file::read(&input)?;
    let binaries = binaries.iter().map(|path| binary::Binary::open(path)).collect::<Result<Vec<_>, _>>()?;
    let report = symbolize::symbolize(&mut profile, &binaries)?;
    file::write(&output, &profile)?;
    Ok(report)
}
