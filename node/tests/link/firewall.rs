//! A firewall before a node: it passes TCP, and UDP when the test says so.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

pub(crate) struct Firewall {
    pub(crate) address: SocketAddr,
    udp_passes: Arc<AtomicBool>,
    _tasks: JoinSet<()>,
}

impl Firewall {
    pub(crate) async fn before(node: SocketAddr) -> Self {
        let (tcp, udp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            // The port may be somebody else's for TCP.
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (tcp, udp);
            }
        };
        let address = tcp.local_addr().unwrap();
        let udp_passes = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        tasks.spawn(pass_tcp(tcp, node));
        tasks.spawn(pass_udp(Arc::new(udp), node, Arc::clone(&udp_passes)));
        Self { address, udp_passes, _tasks: tasks }
    }

    pub(crate) fn pass_udp(&self) {
        self.udp_passes.store(true, Ordering::SeqCst);
    }

    pub(crate) fn drop_udp(&self) {
        self.udp_passes.store(false, Ordering::SeqCst);
    }
}

async fn pass_tcp(listener: TcpListener, node: SocketAddr) {
    let mut pipes = JoinSet::new();
    loop {
        let (mut outside, _) = listener.accept().await.unwrap();
        pipes.spawn(async move {
            let Ok(mut inside) = TcpStream::connect(node).await else { return };
            let _ = copy_bidirectional(&mut outside, &mut inside).await;
        });
    }
}

async fn pass_udp(outside: Arc<UdpSocket>, node: SocketAddr, passes: Arc<AtomicBool>) {
    let mut flows: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut back = JoinSet::new();
    let mut packet = vec![0; 65536];
    loop {
        let Ok((bytes, from)) = outside.recv_from(&mut packet).await else { continue };
        if !passes.load(Ordering::SeqCst) {
            continue;
        }
        let inside = match flows.get(&from) {
            Some(inside) => Arc::clone(inside),
            None => {
                let inside = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                inside.connect(node).await.unwrap();
                back.spawn(pass_back(Arc::clone(&inside), Arc::clone(&outside), from, Arc::clone(&passes)));
                flows.insert(from, Arc::clone(&inside));
                inside
            }
        };
        let _ = inside.send(&packet[..bytes]).await;
    }
}

async fn pass_back(inside: Arc<UdpSocket>, outside: Arc<UdpSocket>, to: SocketAddr, passes: Arc<AtomicBool>) {
    let mut packet = vec![0; 65536];
    loop {
        let Ok(bytes) = inside.recv(&mut packet).await else { continue };
        if passes.load(Ordering::SeqCst) {
            let _ = outside.send_to(&packet[..bytes], to).await;
        }
    }
}
