//! Listening sockets that are open before the server is: bound while the process may do
//! so still, or opened by whoever started it (`sd_listen_fds(3)`).

use std::net::{SocketAddr, TcpListener};

use super::{ServerError, accept};
use crate::settings::{ListenAddr, ListenerSettings};

/// Open sockets, each of which waits for the listener with its address.
#[derive(Debug, Default)]
pub struct Sockets {
    opened: Vec<(ListenAddr, TcpListener)>,
    inherited: Vec<Inherited>,
    /// Where those were bound that somebody else has opened, and may hold as well.
    shared: Vec<SocketAddr>,
}

#[derive(Debug)]
struct Inherited {
    name: String,
    address: SocketAddr,
    socket: TcpListener,
}

impl Sockets {
    /// Sockets that somebody else has opened, by the names they have there. Each is used
    /// by the listener whose address it is bound to.
    pub fn inherited(
        sockets: impl IntoIterator<Item = (String, TcpListener)>,
    ) -> Result<Self, ServerError> {
        let known = |(name, socket): (String, TcpListener)| match socket.local_addr() {
            Ok(address) => Ok(Inherited {
                name,
                address,
                socket,
            }),
            Err(source) => Err(ServerError::Inherited { name, source }),
        };
        let inherited: Vec<_> = sockets.into_iter().map(known).collect::<Result<_, _>>()?;
        Ok(Self {
            shared: inherited.iter().map(|i| i.address).collect(),
            inherited,
            ..Self::default()
        })
    }

    /// Opens the listener's socket now; clients that connect wait in the backlog.
    pub fn open(&mut self, settings: &ListenerSettings) -> Result<SocketAddr, ServerError> {
        let (socket, address) = self.take(settings)?;
        self.opened.push((settings.address, socket));
        Ok(address)
    }

    /// The listener's socket: one that is open already, or a new one.
    pub(super) fn take(
        &mut self,
        settings: &ListenerSettings,
    ) -> Result<(TcpListener, SocketAddr), ServerError> {
        let ListenAddr(wanted) = settings.address;
        let bind_error = |source| ServerError::Bind {
            address: wanted,
            source,
        };
        let opened = self.opened.iter().position(|(a, _)| *a == settings.address);
        let inherited = self.inherited.iter().position(|i| i.address == wanted);
        let socket = match (opened, inherited) {
            (Some(place), _) => self.opened.remove(place).1,
            (None, Some(place)) => {
                let Inherited { name, socket, .. } = self.inherited.remove(place);
                let adopted = accept::adopt(socket, &settings.limits);
                adopted.map_err(|source| ServerError::Inherited { name, source })?
            }
            (None, None) => accept::bind(wanted, &settings.limits).map_err(bind_error)?,
        };
        let address = socket.local_addr().map_err(bind_error)?;
        Ok((socket, address))
    }

    /// Whether somebody else has the socket that is bound to this address.
    pub(super) fn is_shared(&self, address: SocketAddr) -> bool {
        self.shared.contains(&address)
    }

    /// Refuses sockets that no listener has taken: whoever opened them expects them to be
    /// served.
    pub(super) fn all_taken(&self) -> Result<(), ServerError> {
        let left = |i: &Inherited| format!("{} ({})", i.address, i.name);
        let left: Vec<String> = self.inherited.iter().map(left).collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(ServerError::LeftOver(left.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Content;

    fn settings(address: SocketAddr) -> ListenerSettings {
        ListenerSettings::new(ListenAddr(address), Content::Page)
    }

    fn foreign(name: &str) -> (String, TcpListener) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        (name.to_owned(), socket)
    }

    #[test]
    fn an_inherited_socket_serves_its_address_and_no_other() {
        let (web, other) = (foreign("web"), foreign("other.socket"));
        let address = web.1.local_addr().unwrap();
        let port = other.1.local_addr().unwrap().port();
        let mut sockets = Sockets::inherited([web, other]).unwrap();
        // Bound anew, it would be in use.
        assert_eq!(sockets.open(&settings(address)).unwrap(), address);
        let (socket, found) = sockets.take(&settings(address)).unwrap();
        assert_eq!(found, address);
        assert!(socket2::SockRef::from(&socket).tcp_nodelay().unwrap());
        assert_eq!(
            socket.accept().unwrap_err().kind(),
            std::io::ErrorKind::WouldBlock
        );
        let any = settings("127.0.0.1:0".parse().unwrap());
        assert_ne!(sockets.take(&any).unwrap().1.port(), port);
        let error = sockets.all_taken().unwrap_err();
        let words = error.to_string();
        assert!(
            words.contains(&format!("127.0.0.1:{port} (other.socket)")),
            "{words}"
        );
        assert!(!words.contains("web"), "{words}");
    }
}
