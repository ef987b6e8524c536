//! Addresses of nodes.

use crate::id::NodeId;
use crate::wire;

/// How a node is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// It listens.
    Direct {
        /// Name or address.
        host: String,
        /// UDP and TCP.
        port: u16,
    },
    /// It dials out; peers use that connection.
    DialOut,
    /// Another node splices connections to it.
    Relay(NodeId),
}

impl Address {
    /// Reads the message.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn from_proto(address: wire::NodeAddress) -> Result<Self, String> {
        use wire::node_address::Address as Wire;
        match address.address {
            Some(Wire::Direct(direct)) => match u16::try_from(direct.port) {
                Ok(port @ 1..) if !direct.host.is_empty() => Ok(Self::Direct { host: direct.host, port }),
                _ => Err("a direct address needs a host and a port from 1 to 65535".to_owned()),
            },
            Some(Wire::DialOut(_)) => Ok(Self::DialOut),
            Some(Wire::Relay(relay)) => {
                relay.relay.parse().map(Self::Relay).map_err(|error| format!("{error}"))
            }
            None => Err("a node's address is neither direct, dial-out nor relay".to_owned()),
        }
    }

    /// The message.
    #[must_use]
    pub fn to_proto(&self) -> wire::NodeAddress {
        use wire::node_address::Address as Wire;
        let address = match self {
            Self::Direct { host, port } => {
                Wire::Direct(wire::DirectAddress { host: host.clone(), port: (*port).into() })
            }
            Self::DialOut => Wire::DialOut(wire::DialOutAddress {}),
            Self::Relay(relay) => Wire::Relay(wire::RelayAddress { relay: relay.to_string() }),
        };
        wire::NodeAddress { address: Some(address) }
    }
}
