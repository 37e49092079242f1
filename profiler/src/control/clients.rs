//! All clients, of whom there is a most.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::client::{Client, Patience};
use super::tally::{self, Cause};

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections, each of which takes a descriptor.
    pub(super) connections: usize,
    pub(super) patience: Patience,
}

impl Default for Limits {
    fn default() -> Self {
        let patience = Patience {
            request: Duration::from_secs(10),
            next: Duration::from_secs(60),
            answer: Duration::from_secs(30),
        };
        Self { connections: 64, patience }
    }
}

/// The clients that have a connection.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) limits: Limits,
    open: Mutex<Vec<Arc<Client>>>,
}

impl Clients {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, open: Mutex::default() }
    }

    /// Lets one more in, if need be in the place of the one that has been idle longest; or not, if
    /// all are being answered.
    pub(super) fn admit(self: &Arc<Self>) -> Option<Admitted> {
        let mut open = self.open();
        if open.len() >= self.limits.connections {
            let idle =
                open.iter().enumerate().filter_map(|(place, client)| Some((client.idle_since()?, place)));
            let Some((_, place)) = idle.min() else {
                tally::count(Cause::Full);
                return None;
            };
            open.swap_remove(place).end();
            tally::count(Cause::MadeRoom);
        }
        let client = Arc::new(Client::new());
        open.push(Arc::clone(&client));
        tally::OPEN.fetch_add(1, Ordering::Relaxed);
        Some(Admitted { clients: Arc::clone(self), client })
    }

    fn open(&self) -> MutexGuard<'_, Vec<Arc<Client>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client's place, which it leaves when this is dropped.
pub(super) struct Admitted {
    clients: Arc<Clients>,
    pub(super) client: Arc<Client>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        tally::OPEN.fetch_sub(1, Ordering::Relaxed);
        // Whoever had to make room is no longer there.
        self.clients.open().retain(|client| !Arc::ptr_eq(client, &self.client));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_idle_longest_makes_room_and_who_is_answered_never_does() {
        let limits = Limits { connections: 2, ..Limits::default() };
        let clients = Arc::new(Clients::new(limits));
        let first = clients.admit().unwrap();
        let second = clients.admit().unwrap();
        first.client.waits();
        let third = clients.admit().unwrap();
        // Comes at once, for the place is taken.
        second.client.ended().await;
        third.client.waits();
        assert!(clients.admit().is_none(), "both are being answered");
        drop(first);
        drop(second);
        let fourth = clients.admit().unwrap();
        assert_eq!(clients.open().len(), 2);
        drop((third, fourth));
        assert_eq!(clients.open().len(), 0);
    }
}
