//! Where the API listens: on all addresses that a name stands for.

use std::io;
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpListener, ToSocketAddrs,
};

use crate::error::Error;

/// Where the control API shall listen: all that [`ToSocketAddrs`] is implemented for, such as
/// `"localhost:6060"` or a [`SocketAddr`].
pub trait Address: ToSocketAddrs {
    /// The name of the host, if there is one, which clients may then ask for.
    fn host(&self) -> Option<&str> {
        None
    }
}

impl Address for str {
    fn host(&self) -> Option<&str> {
        self.rsplit_once(':').map(|(host, _)| host)
    }
}

impl Address for String {
    fn host(&self) -> Option<&str> {
        self.as_str().host()
    }
}

impl Address for (&str, u16) {
    fn host(&self) -> Option<&str> {
        Some(self.0)
    }
}

impl Address for (String, u16) {
    fn host(&self) -> Option<&str> {
        Some(&self.0)
    }
}

impl<T: Address + ?Sized> Address for &T {
    fn host(&self) -> Option<&str> {
        (**self).host()
    }
}

impl Address for SocketAddr {}
impl Address for SocketAddrV4 {}
impl Address for SocketAddrV6 {}
impl Address for (IpAddr, u16) {}
impl Address for (Ipv4Addr, u16) {}
impl Address for (Ipv6Addr, u16) {}
impl Address for &[SocketAddr] {}

/// Listens on all of the addresses, on one port.
///
/// # Errors
/// [`Error::Refused`] for an address that other machines reach, and [`Error::Io`] if one can't be
/// had. One whose family this machine has not is left out, if there are others.
pub(super) fn bind(addr: &impl ToSocketAddrs) -> Result<Vec<TcpListener>, Error> {
    let failed = |error| Error::Io("the control API can't have that address".into(), error);
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in addr.to_socket_addrs().map_err(failed)? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if let Some(open) = addresses.iter().find(|address| !address.ip().is_loopback()) {
        return Err(Error::Refused(format!(
            "the control API on {open} could be reached from other machines; give it a loopback address such as \
             127.0.0.1:{} and forward a port",
            open.port()
        )));
    }
    if addresses.is_empty() {
        let none = io::Error::new(io::ErrorKind::NotFound, "it stands for no address");
        return Err(failed(none));
    }
    /// A port that one address gave may be taken at another.
    const TRIES: usize = 16;
    let mut refused = None;
    for _ in 0..TRIES {
        match bind_all(&addresses) {
            Ok(listeners) => return Ok(listeners),
            Err((address, error)) => {
                let again = error.kind() == io::ErrorKind::AddrInUse && address.port() == 0;
                refused = Some(Error::Io(format!("the control API can't listen on {address}"), error));
                if !again {
                    break;
                }
            }
        }
    }
    Err(refused.unwrap_or_else(|| failed(io::ErrorKind::AddrNotAvailable.into())))
}

fn bind_all(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, (SocketAddr, io::Error)> {
    let (mut listeners, mut absent, mut port) = (Vec::new(), None, None);
    for address in addresses {
        let mut wanted = *address;
        if let Some(port) = port.filter(|_| address.port() == 0) {
            wanted.set_port(port);
        }
        let listener = TcpListener::bind(wanted).and_then(|listener| {
            listener.set_nonblocking(true)?;
            port = Some(listener.local_addr()?.port());
            Ok(listener)
        });
        match listener {
            Ok(listener) => listeners.push(listener),
            Err(error) if is_absent(&error) => absent = Some((*address, error)),
            Err(error) => return Err((*address, error)),
        }
    }
    match absent {
        Some(absent) if listeners.is_empty() => Err(absent),
        _ => Ok(listeners),
    }
}

/// Whether the machine has no such address, as where IPv6 is switched off and the name still stands
/// for `::1`.
fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_port_is_taken_on_all_addresses() {
        let addresses: Vec<SocketAddr> =
            ["127.0.0.1:0", "127.0.0.2:0", "127.0.0.1:0"].map(|address| address.parse().unwrap()).into();
        let listeners = bind(&&addresses[..]).unwrap();
        let bound: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        assert_eq!(bound.len(), 2, "{bound:?}");
        assert_eq!(bound[0].port(), bound[1].port());
        assert_ne!(bound[0].ip(), bound[1].ip());

        // A port that was asked for must be free on all.
        let error = bind(&&[SocketAddr::from(([127, 0, 0, 3], bound[0].port())), bound[1]][..]).unwrap_err();
        assert!(error.to_string().contains(&bound[1].to_string()), "{error}");
    }

    #[test]
    fn a_family_that_is_absent_is_left_out() {
        // From a block of addresses for documentation, which no machine has. It is no loopback,
        // which `bind` looks at before.
        let absent: SocketAddr = "[2001:db8::1]:0".parse().unwrap();
        let here: SocketAddr = "127.0.0.1:0".parse().unwrap();
        for addresses in [[absent, here], [here, absent]] {
            let listeners = bind_all(&addresses).unwrap();
            assert_eq!(listeners.len(), 1);
            assert_eq!(listeners[0].local_addr().unwrap().ip(), here.ip());
        }
        assert_eq!(bind_all(&[absent]).unwrap_err().0, absent);
    }

    #[test]
    fn a_name_is_known_where_there_is_one() {
        assert_eq!("db.internal:6060".host(), Some("db.internal"));
        assert_eq!(String::from("[::1]:6060").host(), Some("[::1]"));
        assert_eq!(("localhost", 0).host(), Some("localhost"));
        assert_eq!(SocketAddr::from(([127, 0, 0, 1], 0)).host(), None);
    }
}
