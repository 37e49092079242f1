//! Whether the other end of a connection within this machine is open.

use std::net::SocketAddr;

/// Whether some process has the socket at `there` that is connected to `here`; `None` where that
/// can't be told.
#[cfg(target_os = "linux")]
pub(super) fn is_open(there: SocketAddr, here: SocketAddr) -> Option<bool> {
    use std::fs::File;
    use std::io::{BufRead, BufReader};

    let (mut own_seen, mut open) = (false, false);
    // The thread's own network namespace. A client may speak IPv4 through a socket of IPv6.
    for table in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
        let Ok(table) = File::open(table) else { continue };
        for line in BufReader::new(table).lines().map_while(Result::ok) {
            let mut words = line.split_ascii_whitespace().skip(1);
            let (Some(local), Some(remote)) = (words.next(), words.next()) else { continue };
            own_seen |= is(local, here) && is(remote, there);
            if is(local, there) && is(remote, here) {
                // A socket that no process has any more has no inode.
                open |= words.nth(6).is_some_and(|inode| inode != "0");
            }
        }
    }
    // Who does not find this end would not find the other either.
    own_seen.then_some(open)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_open(_: SocketAddr, _: SocketAddr) -> Option<bool> {
    None
}

/// Whether a word of the kernel's table is that address: its words of 32 bits as they lie in
/// memory, and the port.
#[cfg(target_os = "linux")]
fn is(word: &str, address: SocketAddr) -> bool {
    use std::net::IpAddr;

    let Some((ip, port)) = word.split_once(':') else { return false };
    if u16::from_str_radix(port, 16) != Ok(address.port()) {
        return false;
    }
    let mut octets = Vec::with_capacity(16);
    for word in ip.as_bytes().chunks(8) {
        let word = std::str::from_utf8(word).ok().and_then(|word| u32::from_str_radix(word, 16).ok());
        let Some(word) = word else { return false };
        octets.extend(word.to_ne_bytes());
    }
    let ip = match (<[u8; 4]>::try_from(&octets[..]), <[u8; 16]>::try_from(&octets[..])) {
        (Ok(octets), _) => IpAddr::from(octets),
        (_, Ok(octets)) => IpAddr::from(octets).to_canonical(),
        _ => return false,
    };
    ip == address.ip().to_canonical()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::net::{Shutdown, TcpListener, TcpStream};

    #[test]
    fn a_client_that_has_sent_all_is_told_from_one_that_is_gone() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, there) = listener.accept().unwrap();
            let here = server.local_addr().unwrap();
            client.write_all(b"GET").unwrap();
            assert_eq!(is_open(there, here), Some(true));
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(is_open(there, here), Some(true), "half closed");
            drop(client);
            assert_eq!(is_open(there, here), Some(false), "gone");
            drop(server);
            assert!(!is_open(there, here).unwrap_or(false));
        }
    }

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        let address = |text: &str| text.parse().unwrap();
        let word = |ip: &[u8], port: &str| {
            let words =
                ip.chunks(4).map(|four| format!("{:08X}", u32::from_ne_bytes(four.try_into().unwrap())));
            format!("{}:{port}", words.collect::<String>())
        };
        let four = word(&[127, 0, 0, 1], "17AC");
        assert!(is(&four, address("127.0.0.1:6060")) && !is(&four, address("127.0.0.1:6061")));
        assert!(!is(&four, address("127.0.0.2:6060")) && !is(&four, address("[::1]:6060")));
        let six = word(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "17AC");
        assert!(is(&six, address("[::1]:6060")));
        let mapped = word(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1], "17AC");
        assert!(is(&mapped, address("127.0.0.1:6060")));
        for nonsense in ["", ":", "x:17AC", "0:17AC", "0100007F0:17AC"] {
            assert!(!is(nonsense, address("127.0.0.1:6060")), "{nonsense}");
        }
    }
}
