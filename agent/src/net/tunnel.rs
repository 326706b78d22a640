//! The way through a proxy: HTTP CONNECT (RFC 9110 §9.3.6) or SOCKS5 (RFC 1928, RFC 1929). The proxy looks up the name of the
//! target, and whatever comes behind its consent is the target's. The caller sets the deadline of the whole.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_core::config::Url;
use holdfast_core::config::proxy::Proxy;
use holdfast_core::link::dial_error::{DialError, ProxyFault};
use holdfast_core::link::protocol::Refusal;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::TcpStream;

use super::head::{Head, HeadError};
use super::{Target, words};
use crate::os::secret;

/// RFC 1928 §3, RFC 1929 §2: lengths are one byte.
const SOCKS_TEXT_MAX: usize = 255;

/// A proxy that is ready to be asked. It holds credentials, so it has no `Debug`.
pub struct Tunnel {
    /// Where the proxy is.
    pub proxy: Target,
    is_socks: bool,
    login: Option<(String, String)>,
}

impl Tunnel {
    /// Reads the secrets. Errors name their source, never the value.
    pub fn new(table: &Proxy) -> Result<Tunnel, String> {
        let url = Url::parse(&table.url, ["http", "socks5"]);
        let url = url.map_err(|error| format!("the proxy's url {error}"))?;
        // Both kinds are reached in plain text; `secure` tells them apart here.
        let target = Target::of(&url, ("http", 80), ("socks5", 1080));
        let login = match &table.username {
            Some(username) => {
                let password = table.password.as_ref().map(secret::read).transpose()?;
                Some((username.clone(), password.unwrap_or_default()))
            }
            None => None,
        };
        let is_socks = target.secure;
        Ok(Tunnel { proxy: Target { secure: false, ..target }, is_socks, login })
    }

    /// Asks for a connection to the target on a connection to the proxy.
    pub async fn open(&self, tcp: &mut TcpStream, target: &Target) -> Result<(), Refusal> {
        if self.is_socks { self.socks(tcp, target).await } else { self.connect(tcp, target).await }
    }

    async fn connect(&self, tcp: &mut TcpStream, target: &Target) -> Result<(), Refusal> {
        // CONNECT always names the port.
        let authority = target.authority(0);
        let mut head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
        if let Some((username, password)) = &self.login {
            let login = STANDARD.encode(format!("{username}:{password}"));
            head.push_str(&format!("Proxy-Authorization: Basic {login}\r\n"));
        }
        head.push_str("\r\n");
        write(tcp, head.as_bytes()).await?;
        let (status, reason) = answer(tcp).await?;
        match status {
            200..300 => Ok(()),
            // tinyproxy answers 401 where RFC 9110 §15.5.8 asks for 407.
            401 | 407 => {
                let does = if self.login.is_some() { "refuses" } else { "asks for" };
                let error = format!("the proxy {does} user and password (HTTP {status})");
                Err(refused(error))
            }
            _ => Err(blocked(format!("the proxy answers HTTP {status} {}", reason.escape_debug()))),
        }
    }

    async fn socks(&self, tcp: &mut TcpStream, target: &Target) -> Result<(), Refusal> {
        let method = if self.login.is_some() { 2 } else { 0 };
        write(tcp, &[5, 1, method]).await?;
        let [version, chosen] = read::<2>(tcp).await?;
        if version != 5 {
            return Err(blocked("the proxy does not speak SOCKS5"));
        }
        match &self.login {
            _ if chosen != method => {
                let error = match chosen {
                    0xff if method == 0 => "the proxy asks for user and password",
                    0xff => "the proxy takes no user and password",
                    _ => "the proxy chose a way to authenticate that was not offered",
                };
                return Err(refused(error));
            }
            Some((username, password)) => self.log_in(tcp, username, password).await?,
            None => {}
        }
        let mut request = vec![5, 1, 0];
        request.extend(address(target.name())?);
        request.extend(target.port.to_be_bytes());
        write(tcp, &request).await?;
        let [_, reply, _, kind] = read::<4>(tcp).await?;
        if reply != 0 {
            return Err(blocked(format!("the proxy cannot reach the server: {}", reply_words(reply))));
        }
        // The address that the proxy bound is of no use to us, but it stands in front of what the server says.
        let length = match kind {
            1 => 4,
            4 => 16,
            3 => usize::from(read::<1>(tcp).await?[0]),
            _ => return Err(blocked("the proxy answers with an address of an unknown kind")),
        };
        let mut bound = vec![0; length + 2];
        tcp.read_exact(&mut bound).await.map_err(|error| broken(&error))
    }

    async fn log_in(&self, tcp: &mut TcpStream, username: &str, password: &str) -> Result<(), Refusal> {
        let mut request = vec![1];
        for text in [username, password] {
            request.extend(
                counted(text)
                    .ok_or_else(|| blocked("SOCKS5 takes no user or password of more than 255 bytes"))?,
            );
        }
        write(tcp, &request).await?;
        match read::<2>(tcp).await? {
            [_, 0] => Ok(()),
            _ => Err(refused("the proxy refuses user and password")),
        }
    }
}

/// RFC 1928 §5: an address as it is, a name for the proxy to look up.
fn address(host: &str) -> Result<Vec<u8>, Refusal> {
    let bytes = match host.parse() {
        Ok(std::net::IpAddr::V4(address)) => [&[1], &address.octets()[..]].concat(),
        Ok(std::net::IpAddr::V6(address)) => [&[4], &address.octets()[..]].concat(),
        Err(_) => {
            let name = counted(host).ok_or_else(|| blocked("the host's name is too long for SOCKS5"))?;
            [vec![3], name].concat()
        }
    };
    Ok(bytes)
}

fn counted(text: &str) -> Option<Vec<u8>> {
    let length = u8::try_from(text.len()).ok().filter(|length| usize::from(*length) <= SOCKS_TEXT_MAX)?;
    Some([&[length], text.as_bytes()].concat())
}

/// RFC 1928 §6.
fn reply_words(reply: u8) -> &'static str {
    match reply {
        1 => "general failure",
        2 => "its rules do not allow it",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported",
        8 => "kind of address not supported",
        _ => "for a reason that SOCKS5 does not know",
    }
}

/// Reads the head of the answer, and not a byte more: what comes behind it is the server's.
async fn answer(tcp: &mut TcpStream) -> Result<(u16, String), Refusal> {
    match Head::read(tcp, 1).await {
        Ok((head, _)) => Ok((head.status, head.reason)),
        Err(HeadError::Closed) => Err(blocked("the proxy closed the connection")),
        Err(HeadError::Io(error)) => Err(broken(&error)),
        Err(HeadError::TooLarge | HeadError::NoAnswer) => Err(blocked("the proxy's answer is too long")),
        Err(HeadError::NotHttp(_) | HeadError::Malformed(_)) => {
            Err(blocked("the proxy does not answer in HTTP"))
        }
    }
}

async fn write(tcp: &mut TcpStream, bytes: &[u8]) -> Result<(), Refusal> {
    tcp.write_all(bytes).await.map_err(|error| broken(&error))
}

async fn read<const N: usize>(tcp: &mut TcpStream) -> Result<[u8; N], Refusal> {
    let mut bytes = [0; N];
    tcp.read_exact(&mut bytes).await.map_err(|error| broken(&error))?;
    Ok(bytes)
}

fn broken(error: &std::io::Error) -> Refusal {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => blocked("the proxy closed the connection"),
        _ => blocked(format!("the connection to the proxy broke: {}", words(error))),
    }
}

fn blocked(error: impl Into<String>) -> Refusal {
    Refusal::new(DialError::Proxy(ProxyFault::Blocked), error)
}

/// It is our credentials that it does not take.
fn refused(error: impl Into<String>) -> Refusal {
    Refusal::new(DialError::Proxy(ProxyFault::Login), error)
}

#[cfg(test)]
mod tests {
    use smol::future::zip;
    use smol::net::TcpListener;

    use super::*;
    use holdfast_core::config::Secret;

    fn tunnel(url: &str, login: Option<(&str, &str)>) -> Tunnel {
        let username = login.map(|(username, _)| username.to_owned());
        let password = login.map(|(_, password)| Secret::Plain(password.to_owned()));
        Tunnel::new(&Proxy { url: url.to_owned(), username, password })
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Asks a proxy of this script: what it reads, in this order, and what it answers to each.
    fn ask(tunnel: &Tunnel, host: &str, script: &[(&[u8], &[u8])]) -> Result<(), Refusal> {
        smol::block_on(async {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            let proxy = async {
                let (mut tcp, _) = listener.accept().await.unwrap();
                for (expected, answer) in script {
                    let mut bytes = vec![0; expected.len()];
                    tcp.read_exact(&mut bytes).await.unwrap();
                    assert_eq!(bytes, *expected, "{:?}", String::from_utf8_lossy(&bytes));
                    tcp.write_all(answer).await.unwrap();
                }
            };
            let target = Target { secure: true, host: host.to_owned(), port: 443 };
            let asking = async {
                let mut tcp = TcpStream::connect(address).await.unwrap();
                let outcome = tunnel.open(&mut tcp, &target).await;
                if outcome.is_ok() {
                    let mut first = [0];
                    tcp.read_exact(&mut first).await.unwrap();
                    assert_eq!(first, *b"S", "what the server says comes through");
                }
                outcome
            };
            zip(proxy, asking).await.1
        })
    }

    fn error(outcome: Result<(), Refusal>) -> (bool, String) {
        let refusal = outcome.expect_err("it leads nowhere");
        (refusal.cause == DialError::Proxy(ProxyFault::Login), refusal.error)
    }

    #[test]
    fn connect_names_host_and_port_and_brings_the_credentials() {
        let request =
            b"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\nProxy-Authorization: Basic Z3c6cHc=\r\n\r\n";
        let tunnel = tunnel("http://proxy:3128", Some(("gw", "pw")));
        assert!(ask(&tunnel, "::1", &[(request, b"HTTP/1.0 200 OK\r\nVia: p\r\n\r\nS")]).is_ok());
    }

    #[test]
    fn a_407_is_a_matter_of_credentials_and_another_answer_is_told() {
        let request = b"CONNECT hub:443 HTTP/1.1\r\nHost: hub:443\r\n\r\n";
        let tunnel = tunnel("http://proxy", None);
        assert_eq!((tunnel.proxy.host.as_str(), tunnel.proxy.port), ("proxy", 80));
        let refused = |answer: &[u8]| error(ask(&tunnel, "hub", &[(request, answer)]));
        let asks = refused(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
        assert_eq!(asks, (true, "the proxy asks for user and password (HTTP 407)".to_owned()));
        let forbids = refused(b"HTTP/1.1 403 Filtered\r\n\r\n");
        assert_eq!(forbids, (false, "the proxy answers HTTP 403 Filtered".to_owned()));
        let patient = refused(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 Filtered\r\nVia:\r\n p\r\n\r\n");
        assert_eq!(patient, forbids);
        assert_eq!(refused(b"SSH-2.0-x\r\n\r\n").1, "the proxy does not answer in HTTP");
    }

    #[test]
    fn socks_logs_in_and_leaves_the_name_to_the_proxy() {
        let script: [(&[u8], &[u8]); 3] = [
            (&[5, 1, 2], &[5, 2]),
            (b"\x01\x02gw\x02pw", &[1, 0]),
            (b"\x05\x01\x00\x03\x03hub\x01\xbb", b"\x05\x00\x00\x01\x7f\x00\x00\x01\x04\x38S"),
        ];
        assert!(ask(&tunnel("socks5://proxy", Some(("gw", "pw"))), "hub", &script).is_ok());
    }

    #[test]
    fn socks_takes_an_address_as_it_is_and_bears_every_kind_of_bound_address() {
        let v4 = b"\x05\x01\x00\x01\x0a\x00\x00\x01\x01\xbb";
        let named: (&[u8], &[u8]) = (v4, b"\x05\x00\x00\x03\x02ab\x04\x38S");
        assert!(ask(&tunnel("socks5://proxy", None), "10.0.0.1", &[(&[5, 1, 0], &[5, 0]), named]).is_ok());
        let v6 = [&[5, 1, 0, 4][..], &[0; 15], &[1, 1, 0xbb]].concat();
        let bound = [&[5, 0, 0, 4][..], &[0; 18], b"S"].concat();
        assert!(ask(&tunnel("socks5://proxy", None), "::1", &[(&[5, 1, 0], &[5, 0]), (&v6, &bound)]).is_ok());
    }

    #[test]
    fn what_a_socks_proxy_refuses_is_told_in_words() {
        let (with, without) = (tunnel("socks5://proxy", Some(("gw", "pw"))), tunnel("socks5://proxy", None));
        let asks = error(ask(&without, "hub", &[(&[5, 1, 0], &[5, 0xff])]));
        assert_eq!(asks, (true, "the proxy asks for user and password".to_owned()));
        let script: [(&[u8], &[u8]); 2] = [(&[5, 1, 2], &[5, 2]), (b"\x01\x02gw\x02pw", &[1, 1])];
        assert_eq!(
            error(ask(&with, "hub", &script)),
            (true, "the proxy refuses user and password".to_owned())
        );
        let request: (&[u8], &[u8]) = (b"\x05\x01\x00\x03\x03hub\x01\xbb", &[5, 5, 0, 1]);
        let refused = error(ask(&without, "hub", &[(&[5, 1, 0], &[5, 0]), request]));
        assert_eq!(refused, (false, "the proxy cannot reach the server: connection refused".to_owned()));
        assert_eq!(error(ask(&without, "hub", &[(&[5, 1, 0], b"HT")])).1, "the proxy does not speak SOCKS5");
    }
}
