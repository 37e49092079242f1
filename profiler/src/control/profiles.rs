//! Taking profiles for clients. A client that goes away ends its profile.

use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::params::{self, Format, Params};
use super::work;
use crate::error::Error;
use crate::focus::Focus;
use crate::profile::{Kind, Profile};

/// As Go's handlers do.
const DEFAULT_DURATION: Duration = Duration::from_secs(30);

const TEXT: &str = "text/plain; charset=utf-8";

/// Who takes profiles, for others that come meanwhile.
pub(super) const OWNER: &str = "a client of the control API";

/// `GET /debug/pprof/profile`
pub(super) async fn cpu(params: Params) -> Response {
    respond(take_cpu(params).await, "profile").await
}

/// `GET /debug/pprof/offcpu`
pub(super) async fn off_cpu(params: Params) -> Response {
    respond(take_off_cpu(params).await, "offcpu").await
}

/// `GET /debug/pprof/wall`
pub(super) async fn wall(params: Params) -> Response {
    respond(take_wall(params).await, "wall").await
}

/// `GET /debug/pprof/mutex`
pub(super) async fn mutex(params: Params) -> Response {
    respond(take_locks(params, Kind::Mutex).await, "mutex").await
}

/// `GET /debug/pprof/block`
pub(super) async fn block(params: Params) -> Response {
    respond(take_locks(params, Kind::Block).await, "block").await
}

/// `GET /debug/pprof/heap`
pub(super) async fn heap(params: Params) -> Response {
    respond(take_heap(params).await, "heap").await
}

/// `GET /debug/pprof/allocs`
pub(super) async fn allocs(params: Params) -> Response {
    respond(take_allocs(params).await, "allocs").await
}

async fn take_cpu(params: Params) -> Result<Taken, Error> {
    if let Some(past) = params.past {
        let lines = params.lines;
        let named = move || crate::cpu::raw_past(past).map(|raw| raw.named(Kind::Cpu, lines));
        return Ok(Taken { finish: Box::new(named), params });
    }
    let duration = params.seconds.unwrap_or(DEFAULT_DURATION);
    let builder = crate::cpu::cpu().hz(params.hz.unwrap_or(99)).duration(duration).owner(OWNER);
    let builder = if params.lines { builder.lines() } else { builder };
    let builder = if params.kernel { builder.kernel_frames() } else { builder };
    let builder = in_focus(&params).fold(builder, |builder, (label, value)| builder.only(label, value));
    let session = work::aside(move || builder.start_bounded()).await??;
    tokio::time::sleep(duration).await;
    Ok(Taken { finish: Box::new(move || session.stop_whole()), params })
}

/// What a sampler itself can choose by. By all else, and once more by these, a profile is cut when it was taken, which knows the
/// values that there are.
fn in_focus(params: &Params) -> impl Iterator<Item = (&'static str, String)> {
    let known = |(label, _): &&(&str, String)| Focus::new(label, "").is_ok();
    params.only.iter().filter(known).cloned()
}

async fn take_off_cpu(params: Params) -> Result<Taken, Error> {
    let duration = params.seconds.unwrap_or(DEFAULT_DURATION);
    let builder = crate::cpu::off_cpu().duration(duration).owner(OWNER);
    let builder = if params.lines { builder.lines() } else { builder };
    let builder = in_focus(&params).fold(builder, |builder, (label, value)| builder.only(label, value));
    let session = work::aside(move || builder.start_bounded()).await??;
    tokio::time::sleep(duration).await;
    Ok(Taken { finish: Box::new(move || session.stop_whole()), params })
}

async fn take_wall(params: Params) -> Result<Taken, Error> {
    let duration = params.seconds.unwrap_or(DEFAULT_DURATION);
    let builder = crate::cpu::wall().hz(params.hz.unwrap_or(20)).duration(duration).owner(OWNER);
    let builder = if params.lines { builder.lines() } else { builder };
    let builder = in_focus(&params).fold(builder, |builder, (label, value)| builder.only(label, value));
    let session = work::aside(move || builder.start_bounded()).await??;
    tokio::time::sleep(duration).await;
    Ok(Taken { finish: Box::new(move || session.stop_whole()), params })
}

async fn take_locks(params: Params, kind: Kind) -> Result<Taken, Error> {
    let duration = params.seconds.unwrap_or(DEFAULT_DURATION);
    let builder = crate::lock::locks().duration(duration).owner(OWNER);
    let builder = if params.lines { builder.lines() } else { builder };
    let session = work::aside(move || builder.start_bounded()).await??;
    tokio::time::sleep(duration).await;
    Ok(Taken { finish: Box::new(move || Ok(session.stop_one(kind))), params })
}

/// `GET /debug/pprof/kept?number=3`
pub(super) async fn kept(params: Params) -> Response {
    respond(take_kept(params).await, "kept").await
}

async fn take_kept(params: Params) -> Result<Taken, Error> {
    let kept = crate::cpu::kept_profiles();
    let wanted = kept.iter().find(|kept| params.number.is_none_or(|number| number == kept.number()));
    let Some(kept) = wanted.cloned() else {
        let numbers: Vec<String> = kept.iter().map(|kept| kept.number().to_string()).collect();
        return Err(Error::Invalid(match &numbers[..] {
            [] => "no trigger has had a profile kept".into(),
            numbers => format!("the profiles that were kept have the numbers {}", numbers.join(", ")),
        }));
    };
    let lines = params.lines;
    Ok(Taken { finish: Box::new(move || Ok(kept.named(lines))), params })
}

async fn take_heap(params: Params) -> Result<Taken, Error> {
    let builder = if params.lines { crate::heap::heap().lines() } else { crate::heap::heap() };
    let finish: Finish = match params.seconds {
        None => Box::new(|| builder.run()),
        Some(duration) => {
            let session = work::aside(|| builder.start()).await??;
            tokio::time::sleep(duration).await;
            Box::new(move || session.stop())
        }
    };
    Ok(Taken { finish, params })
}

async fn take_allocs(params: Params) -> Result<Taken, Error> {
    let duration = params.seconds.unwrap_or(DEFAULT_DURATION);
    let builder = crate::heap::allocs().duration(duration).owner(OWNER);
    let builder = if params.lines { builder.lines() } else { builder };
    let session = work::aside(move || builder.start_bounded()).await??;
    tokio::time::sleep(duration).await;
    Ok(Taken { finish: Box::new(move || session.stop()), params })
}

/// What was sampled, before it has names.
struct Taken {
    finish: Finish,
    params: Params,
}

type Finish = Box<dyn FnOnce() -> Result<Profile, Error> + Send>;

/// Names and renders a profile at one go, so that who came first has it first.
async fn respond(taken: Result<Taken, Error>, name: &'static str) -> Response {
    let rendered = match taken {
        Ok(Taken { finish, params }) => {
            work::on_profile(move || finish().and_then(|profile| render(&profile, &params, name))).await
        }
        Err(error) => Err(error),
    };
    rendered.and_then(|rendered| rendered).unwrap_or_else(|error| refuse(&error))
}

fn render(profile: &Profile, params: &Params, name: &str) -> Result<Response, Error> {
    let mut profile = choose(profile, &params.only)?;
    for label in params.by.iter().rev() {
        profile = profile.by_label(label);
    }
    let mut body = Vec::new();
    let (written, kind, file) = match params.format {
        Format::Pprof => (profile.write_pprof(&mut body), "application/octet-stream", Some("pb.gz")),
        Format::Svg => (profile.write_flamegraph(&mut body), "image/svg+xml", None),
        Format::Icicle => (profile.write_icicle(&mut body), "image/svg+xml", None),
        Format::Folded => (profile.write_folded(&mut body), TEXT, None),
        Format::Top => (profile.write_top_by(params.sort, params.limit, &mut body), TEXT, None),
        Format::Speedscope => {
            (profile.write_speedscope(&mut body), "application/json", Some("speedscope.json"))
        }
        Format::Firefox => (profile.write_firefox(&mut body), "application/json", Some("firefox.json")),
    };
    written.map_err(|error| Error::Io("the profile can't be rendered".into(), error))?;
    let mut response = ([(CONTENT_TYPE, kind)], body).into_response();
    if let Some(file) = file
        && let Ok(disposition) = format!("attachment; filename=\"{name}.{file}\"").parse()
    {
        response.headers_mut().insert(CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}

/// The part of a profile that was asked for.
///
/// # Errors
/// If there are samples, and none with a value that was asked for: it names those that there are.
fn choose(profile: &Profile, only: &[(&'static str, String)]) -> Result<Profile, Error> {
    /// As many as a sentence bears.
    const NAMED: usize = 10;
    let mut chosen = profile.clone();
    for (label, value) in only {
        let part = chosen.filter(label, value);
        if part.is_empty() && !chosen.is_empty() {
            let there = chosen.label_totals(label);
            let named = there.iter().take(NAMED).map(|(value, _)| match value.as_str() {
                "" => "none (an empty value asks for it)".to_owned(),
                value => format!("{label}={}", params::short(value)),
            });
            let mut named = named.collect::<Vec<_>>().join(", ");
            if there.len() > NAMED {
                named += &format!(" and {} more", there.len() - NAMED);
            }
            let value = params::short(value);
            return Err(Error::Invalid(format!("no sample has {label}={value}; there are {named}")));
        }
        chosen = part;
    }
    Ok(chosen)
}

pub(super) fn refuse(error: &Error) -> Response {
    let status = match error {
        Error::Invalid(_) => StatusCode::BAD_REQUEST,
        Error::Busy(_) => StatusCode::CONFLICT,
        Error::Refused(_) => StatusCode::FORBIDDEN,
        Error::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
        Error::Io(..) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, format!("{error}\n")).into_response()
}
