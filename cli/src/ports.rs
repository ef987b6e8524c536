//! Ports of 127.0.0.1 for processes that start later.
//!
//! They lie below those that a system hands out by itself (from 32768 on Linux, from 49152 elsewhere): between the choice
//! and the start, no listener on port 0 and no outgoing connection takes one.

use std::io::{Error, ErrorKind, Result};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

/// A port that nobody uses right now, over TCP or UDP. This process gets each once, until all had their turn.
///
/// # Errors
/// All are in use, or the system lets nobody listen.
pub fn free_port() -> Result<u16> {
    // Processes that choose at the same time begin far from each other.
    let begin = std::process::id().wrapping_mul(STRIDE);
    let candidate = |_| FIRST + (begin.wrapping_add(CHOSEN.fetch_add(1, Ordering::Relaxed)) % PORTS);
    let ports = (0..PORTS).map(candidate).filter_map(|port| u16::try_from(port).ok());
    let mut refused = Error::from(ErrorKind::AddrInUse);
    for port in ports {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .and_then(|_tcp| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)))
        {
            Ok(_) => return Ok(port),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

const FIRST: u32 = 10_240;
const PORTS: u32 = 32_768 - FIRST;
/// A prime.
const STRIDE: u32 = 619;
static CHOSEN: AtomicU32 = AtomicU32::new(0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_chosen_twice_nor_one_in_use() {
        let first = free_port().unwrap();
        let second = free_port().unwrap();
        assert_ne!(first, second);
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, second + 1));
        assert_ne!(free_port().unwrap(), second + 1);
    }
}
