//! Who may ask: programs of this machine, and no web page that a browser on it shows.
//!
//! A page can send requests to any address that the browser reaches. It can't read the answers of
//! another origin, unless a name of its own leads to this machine (DNS rebinding); that name is
//! then in `Host`, which is why names are checked. It can send what a form can, without asking
//! first; a header of our own is none of that, which is why every change wants one.

use axum::extract::Request;
use axum::http::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{Method, Uri, Version};
use std::net::IpAddr;

use super::params::short;

/// Without it nothing is changed. Its value says nothing.
const CHANGES: HeaderName = HeaderName::from_static("x-stagelight");

/// Names that the API answers to, besides those of loopback.
#[derive(Clone, Debug, Default)]
pub(super) struct Guard {
    hosts: Vec<String>,
    /// Where it listens.
    ports: Vec<u16>,
}

impl Guard {
    /// # Errors
    /// What is wrong with a name.
    pub(super) fn new(hosts: impl IntoIterator<Item = String>, ports: Vec<u16>) -> Result<Self, String> {
        let host = |name: String| {
            let authority: Result<Authority, _> = name.parse();
            authority.map(|authority| plain(authority.host())).map_err(|_| {
                format!("{name:?} is no name of a host: it must be one such as profiles.example.com")
            })
        };
        let mut hosts = hosts.into_iter().map(host).collect::<Result<Vec<String>, _>>()?;
        // Those are known in any case.
        hosts.retain(|host| !is_loopback(host));
        Ok(Self { hosts, ports })
    }

    /// Whether a request comes from where it may.
    ///
    /// # Errors
    /// Why not, and what would be right.
    pub(super) fn check(&self, request: &Request) -> Result<(), String> {
        let host = self.host(request)?;
        self.origin(request.method(), request.headers(), host.as_ref())
    }

    /// Whether a request that changes something has the header for it.
    ///
    /// # Errors
    /// How to send it.
    pub(super) fn check_change(request: &Request) -> Result<(), String> {
        if request.headers().contains_key(CHANGES) {
            return Ok(());
        }
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let url = format!("http://{}{}", host.unwrap_or("127.0.0.1:6060"), request.uri());
        Err(format!(
            "a change must have the header X-Stagelight, which a web page can't send by itself: \
             curl -X POST -H 'X-Stagelight: 1' '{}'",
            stagelight::export::table::shorten(&url, 200)
        ))
    }

    /// The host that is asked for.
    fn host(&self, request: &Request) -> Result<Option<Authority>, String> {
        let mut given = request.headers().get_all(HOST).iter();
        let header = given.next();
        if given.next().is_some() {
            return Err("there must be one Host header".into());
        }
        let header = match header {
            Some(header) => {
                let text = String::from_utf8_lossy(header.as_bytes());
                let host = text.parse().map_err(|_| self.foreign(&text))?;
                Some(self.known(host)?)
            }
            // No browser leaves it out.
            None if request.version() < Version::HTTP_11 => None,
            None => return Err("there must be a Host header".into()),
        };
        // A proxy's form of a request has another one.
        match request.uri().authority() {
            Some(host) => Ok(Some(self.known(host.clone())?)),
            None => Ok(header),
        }
    }

    fn known(&self, host: Authority) -> Result<Authority, String> {
        // Nobody's name: `user@host`.
        if !host.as_str().contains('@') && (is_loopback(host.host()) || self.lists(host.host())) {
            return Ok(host);
        }
        Err(self.foreign(host.as_str()))
    }

    fn foreign(&self, host: &str) -> String {
        let host = short(host);
        let mut known: Vec<&str> = vec!["localhost", "127.0.0.1", "[::1]"];
        known.extend(self.hosts.iter().map(String::as_str));
        format!(
            "Host is {host:?}, and this API answers to {} alone, lest a web page reads it through a name of its own; \
             a program allows another by stagelight_profiler::control().allow_host(…)",
            known.join(", ")
        )
    }

    /// Whether it is no page of another origin that asks.
    fn origin(&self, method: &Method, headers: &HeaderMap, host: Option<&Authority>) -> Result<(), String> {
        if let Some(origin) = headers.get(ORIGIN) {
            let text = String::from_utf8_lossy(origin.as_bytes());
            let uri: Option<Uri> = text.parse().ok();
            let authority = uri.as_ref().and_then(Uri::authority);
            if authority.is_some_and(|authority| self.is_own(authority, host)) {
                return Ok(());
            }
            return Err(format!(
                "Origin is {:?}: pages of other origins may not ask this API; a program allows one by \
                 stagelight_profiler::control().allow_host(…)",
                short(&text)
            ));
        }
        let says = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let from_here = matches!(says("sec-fetch-site"), None | Some("none" | "same-origin"));
        // Whoever follows a link sees the answer himself; the page with the link does not.
        let link = matches!(*method, Method::GET | Method::HEAD)
            && says("sec-fetch-mode") == Some("navigate")
            && says("sec-fetch-dest") == Some("document");
        if from_here || link {
            return Ok(());
        }
        Err("Sec-Fetch-Site says that a page of another origin asks, and none may; a link may lead here"
            .into())
    }

    /// A page of ours has the host that it asks for, or another name of the same place.
    fn is_own(&self, origin: &Authority, host: Option<&Authority>) -> bool {
        let same = host.is_some_and(|host| {
            host.as_str().eq_ignore_ascii_case(origin.as_str())
                || plain(host.host()) == plain(origin.host()) && host.port_u16() == origin.port_u16()
        });
        let here =
            is_loopback(origin.host()) && origin.port_u16().is_some_and(|port| self.ports.contains(&port));
        same || here || self.lists(origin.host())
    }

    fn lists(&self, host: &str) -> bool {
        self.hosts.contains(&plain(host))
    }
}

/// A name without what may differ between two ways of writing it.
fn plain(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Whether it is an address of loopback, or a name that browsers take for it whatever DNS says.
fn is_loopback(host: &str) -> bool {
    let host = plain(host);
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
    match address.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn guard() -> Guard {
        Guard::new(["Profiles.Example.com", "localhost"].map(str::to_owned), vec![6060]).unwrap()
    }

    fn request(method: Method, uri: &str, headers: &[(&str, &str)]) -> Request {
        let request = Request::builder().method(method).uri(uri);
        let with = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        with.body(Body::empty()).unwrap()
    }

    #[test]
    fn names_of_loopback_and_those_that_were_allowed_may_be_asked_for() {
        for host in [
            "localhost",
            "localhost:6060",
            "LocalHost.:7070",
            "a.localhost",
            "127.0.0.1:6060",
            "127.9.8.7",
            "[::1]:6060",
            "[::ffff:127.0.0.1]",
            "profiles.example.com",
            "PROFILES.example.com.:443",
        ] {
            assert_eq!(guard().check(&request(Method::GET, "/metrics", &[("host", host)])), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1.evil.example:6060",
            "10.0.0.1",
            "0.0.0.0:6060",
            "[::]",
            "user@localhost",
            "localhost:6060:1",
            "a.profiles.example.com",
            "",
            "\u{ff}",
        ] {
            let refused = guard().check(&request(Method::GET, "/metrics", &[("host", host)])).unwrap_err();
            assert!(refused.contains("127.0.0.1") && refused.contains("profiles.example.com"), "{refused}");
            assert!(refused.contains("allow_host") && !refused.contains("com, localhost"), "{refused}");
        }
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert!(guard().check(&request(Method::GET, "/", &two)).unwrap_err().contains("one Host"));
        assert!(guard().check(&request(Method::GET, "/", &[])).unwrap_err().contains("a Host"));
        let proxied = request(Method::GET, "http://evil.example/metrics", &[("host", "localhost")]);
        assert!(guard().check(&proxied).is_err());
        let mut old = request(Method::GET, "/metrics", &[]);
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(guard().check(&old), Ok(()));
        assert!(Guard::new(["a name".to_owned()], vec![]).unwrap_err().contains("no name of a host"));
    }

    #[test]
    fn pages_of_other_origins_may_not_ask() {
        let check = |method: Method, headers: &[(&str, &str)]| {
            let headers = [&[("host", "127.0.0.1:6060")], headers].concat();
            guard().check(&request(method, "/api/v1/mode", &headers))
        };
        for origin in [
            "http://127.0.0.1:6060",
            "http://localhost:6060",
            "http://[::1]:6060",
            "https://profiles.example.com",
        ] {
            assert_eq!(check(Method::POST, &[("origin", origin)]), Ok(()), "{origin}");
        }
        for origin in [
            "http://evil.example",
            "http://evil.example:6060",
            "http://localhost:3000",
            "null",
            "",
            "file://",
            "http://127.0.0.1:6060.evil.example",
        ] {
            for method in [Method::GET, Method::POST] {
                let refused = check(method, &[("origin", origin)]).unwrap_err();
                assert!(refused.contains("Origin is"), "{refused}");
            }
        }
        for site in ["cross-site", "same-site", "?"] {
            let from = ("sec-fetch-site", site);
            assert!(check(Method::GET, &[from]).unwrap_err().contains("Sec-Fetch-Site"));
            let link = [from, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
            assert_eq!(check(Method::GET, &link), Ok(()));
            assert!(check(Method::POST, &link).is_err());
            let frame = [from, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")];
            assert!(check(Method::GET, &frame).is_err());
        }
        for site in ["none", "same-origin"] {
            assert_eq!(check(Method::GET, &[("sec-fetch-site", site)]), Ok(()));
        }
    }

    #[test]
    fn a_change_wants_a_header_and_says_how_to_send_it() {
        let uri = "/api/v1/mode?stage=*&mode=off";
        let plain = request(Method::POST, uri, &[("host", "localhost:7070")]);
        let refused = Guard::check_change(&plain).unwrap_err();
        assert!(
            refused.ends_with(&format!("curl -X POST -H 'X-Stagelight: 1' 'http://localhost:7070{uri}'")),
            "{refused}"
        );
        let with = request(Method::POST, uri, &[("host", "localhost:7070"), ("X-Stagelight", "1")]);
        assert_eq!(Guard::check_change(&with), Ok(()));
    }
}
