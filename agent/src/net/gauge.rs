//! How far the bytes of one connection have come: what the kernel took, what the peer's kernel has acknowledged, what came in.

use std::fs;
use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use holdfast_core::link::protocol::Traffic;
use smol::io::{self, AsyncRead, AsyncWrite};
use smol::net::TcpStream;

/// The timer that asks a peer without room whether it has some.
const WINDOW_PROBE: &str = "04";

/// Counts the bytes of one connection, the last one that it was given; there is nothing to count before it is made.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Ours and the peer's address.
    addresses: Mutex<Option<(SocketAddr, SocketAddr)>>,
    written: AtomicU64,
    read: AtomicU64,
    /// Whole frames or packets of the peer.
    frames: AtomicU64,
}

/// A TCP stream whose bytes are counted.
#[derive(Debug)]
pub struct Gauged {
    tcp: TcpStream,
    gauge: Gauge,
}

impl Gauge {
    /// Counts the bytes of this stream from here on.
    pub fn watch(&self, tcp: TcpStream) -> Gauged {
        let addresses = tcp.local_addr().ok().zip(tcp.peer_addr().ok());
        *self.0.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
        // A redirect leads to another connection, and what the first one carried is not of that one.
        for count in [&self.0.written, &self.0.read, &self.0.frames] {
            count.store(0, Ordering::Relaxed);
        }
        Gauged { tcp, gauge: self.clone() }
    }

    /// A whole frame or packet of the peer was read.
    pub fn frame(&self) {
        self.0.frames.fetch_add(1, Ordering::Relaxed);
    }

    /// How far everything has come.
    pub fn read(&self) -> Traffic {
        let addresses = *self.0.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let queues = addresses.and_then(|(ours, peers)| queues(ours, peers));
        let counts = &self.0;
        Traffic {
            written: counts.written.load(Ordering::Relaxed),
            unacknowledged: queues.map(|queues| queues.unacknowledged),
            heard: counts.read.load(Ordering::Relaxed) + queues.map_or(0, |queues| queues.unread),
            frames: counts.frames.load(Ordering::Relaxed),
            peer_is_full: queues.is_some_and(|queues| queues.peer_is_full),
        }
    }
}

impl AsyncRead for Gauged {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let length = ready!(Pin::new(&mut self.tcp).poll_read(cx, bytes))?;
        self.gauge.0.read.fetch_add(length as u64, Ordering::Relaxed);
        Poll::Ready(Ok(length))
    }
}

impl AsyncWrite for Gauged {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let length = ready!(Pin::new(&mut self.tcp).poll_write(cx, bytes))?;
        self.gauge.0.written.fetch_add(length as u64, Ordering::Relaxed);
        Poll::Ready(Ok(length))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = ready!(Pin::new(&mut self.tcp).poll_write_vectored(cx, parts))?;
        self.gauge.0.written.fetch_add(length as u64, Ordering::Relaxed);
        Poll::Ready(Ok(length))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_close(cx)
    }
}

/// Bytes in the kernel for one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Queues {
    unacknowledged: u64,
    unread: u64,
    /// The peer takes nothing more, and says so whenever it is asked.
    peer_is_full: bool,
}

/// None where the kernel does not tell.
fn queues(ours: SocketAddr, peers: SocketAddr) -> Option<Queues> {
    let table = if ours.is_ipv4() { "/proc/self/net/tcp" } else { "/proc/self/net/tcp6" };
    row(&fs::read_to_string(table).ok()?, ours, peers)
}

/// Reads the table of proc_pid_net(5): after its number each row has both addresses, the state, the queues, the timer, and
/// how often what the timer does was in vain.
fn row(table: &str, ours: SocketAddr, peers: SocketAddr) -> Option<Queues> {
    let (ours, peers) = (shown(ours), shown(peers));
    let mut rows = table.lines().map(|line| line.split_ascii_whitespace().skip(1));
    let mut columns =
        rows.find_map(|mut row| (row.next()? == ours && row.next()? == peers).then_some(row))?;
    let (unacknowledged, unread) = columns.nth(1)?.split_once(':')?;
    let (timer, _) = columns.next()?.split_once(':')?;
    let in_vain = columns.nth(2)?;
    let number = |digits| u64::from_str_radix(digits, 16).ok();
    Some(Queues {
        unacknowledged: number(unacknowledged)?,
        unread: number(unread)?,
        peer_is_full: timer == WINDOW_PROBE && in_vain.parse::<u64>().ok()? <= 1,
    })
}

/// An address as the kernel writes it: words of 32 bits in the byte order of the machine.
fn shown(address: SocketAddr) -> String {
    let bytes = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let word = |four: &[u8]| format!("{:08X}", u32::from_ne_bytes([four[0], four[1], four[2], four[3]]));
    let words: String = bytes.chunks_exact(4).map(word).collect();
    format!("{words}:{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    use smol::io::{AsyncReadExt, AsyncWriteExt};
    use smol::net::TcpListener;

    use super::*;

    #[test]
    fn a_row_is_found_by_both_addresses() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0\n   \
             1: 0100007F:1F90 0100007F:D431 01 0000EA60:0000000A 01:00000014 00000000     0        0 2 2 0\n   \
             2: 0100007F:1F90 0100007F:D432 01 00000005:00000000 04:00000014 00000000     0        1 2 2 0\n   \
             3: 0100007F:1F90 0100007F:D433 01 00000005:00000000 04:00000014 00000000     0        2 2 2 0\n";
        let address = |text: &str| -> SocketAddr { text.parse().unwrap() };
        let ours = address("127.0.0.1:8080");
        let found = |port: u16| row(table, ours, address(&format!("127.0.0.1:{port}")));
        if cfg!(target_endian = "little") {
            let queues =
                |unacknowledged, unread, peer_is_full| Queues { unacknowledged, unread, peer_is_full };
            assert_eq!(found(54_321), Some(queues(60_000, 10, false)));
            assert_eq!(found(54_322), Some(queues(5, 0, true)));
            assert_eq!(found(54_323), Some(queues(5, 0, false)), "it does not answer any more");
        }
        assert_eq!(found(54_324), None);
    }

    #[test]
    fn what_the_peer_has_not_read_and_what_we_have_not_read_is_told_by_the_kernel() {
        for host in ["127.0.0.1", "::1"] {
            smol::block_on(async {
                let Ok(listener) = TcpListener::bind((host, 0)).await else { return };
                let gauge = Gauge::default();
                assert_eq!(gauge.read(), Traffic::default());
                let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
                let (mut stream, (mut peer, _)) = (gauge.watch(tcp), listener.accept().await.unwrap());
                stream.write_all(&[1; 1000]).await.unwrap();
                peer.read_exact(&mut [0; 1000]).await.unwrap();
                peer.write_all(&[2; 30]).await.unwrap();
                stream.read_exact(&mut [0; 10]).await.unwrap();
                let facts = gauge.read();
                assert_eq!((facts.written, facts.unacknowledged, facts.heard), (1000, Some(0), 30));
                // More than fits into both kernels.
                while let Some(Ok(_)) = smol::future::poll_once(stream.write(&[3; 65_536])).await {}
                let facts = gauge.read();
                assert!(facts.unacknowledged.is_some_and(|bytes| bytes > 65_536), "{facts:?}");
                assert!(facts.acknowledged() >= 1000, "{facts:?}");
            });
        }
    }
}
