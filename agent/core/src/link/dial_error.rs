//! Why a connection could not be made, as far as anything is decided by it: when to try again, and what to advise.

use crate::link::protocol::RefusalKind;

/// Cause of a dial that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialError {
    /// A setting, a secret or a file of the configuration cannot be used.
    Settings,
    /// The name has no address, or no name server tells it.
    Dns,
    /// The zone of the address names no network interface of this machine.
    NoInterface,
    /// At least one address refused the connection.
    Refused,
    /// No address took the connection.
    Unreachable,
    /// The proxy leads nowhere.
    Proxy(ProxyFault),
    /// The TLS handshake failed.
    Tls(TlsFault),
    /// A deadline passed.
    TimedOut,
    /// The connection broke, or was closed without an answer.
    Broken,
    /// The server speaks TLS on a port that is asked in plain text.
    NeedsTls,
    /// The answer is not HTTP/1.1.
    NotHttp,
    /// The answer to the upgrade is not one of RFC 6455 §4.1.
    NotWebSocket,
    /// The server answers with another status than is hoped for.
    Http {
        /// The status.
        status: u16,
        /// Its meaning for the next try.
        asks: RefusalKind,
    },
    /// The same where a redirect has led to another host, to which no credentials are sent, and which wants some.
    LoginElsewhere,
    /// The server redirects to an address that is not followed.
    Redirect,
    /// The server redirects again and again.
    RedirectLoop,
    /// The answer is not MQTT.
    NotMqtt,
    /// The broker refuses the connection (MQTT 3.1.1 §3.2.2.3, 5.0 §3.2.2.2), with this meaning for the next try.
    Mqtt(RefusalKind),
    /// The broker takes the connection, and not what a test publishes.
    NotPublished(PublishFault),
    /// A ping was not answered.
    NoPong,
    /// Pings are answered, but not with their payload (RFC 6455 §5.5.3).
    NoEcho,
}

/// What is wrong with the way through a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyFault {
    /// Its name has no address, or no name server tells it.
    Dns,
    /// It refused the connection.
    Refused,
    /// It did not take the connection.
    Unreachable,
    /// It refuses our credentials, or asks for some.
    Login,
    /// It takes the connection and does not lead to the server.
    Blocked,
}

/// Why a broker does not take a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishFault {
    /// This user may not publish there.
    Unauthorized,
    /// It is larger than the broker takes.
    TooLarge,
    /// It is taken and not passed on.
    Dropped,
    /// Anything else.
    Other,
}

/// What is wrong with TLS, as seen by the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFault {
    /// The server's key is not one of the pinned.
    Pin,
    /// The server's certificate is self-signed and not among the trusted.
    SelfSigned,
    /// Its time is over.
    Expired,
    /// Its time has not begun.
    NotYetValid,
    /// No trusted authority has issued it.
    UnknownIssuer,
    /// It is for another name.
    Name,
    /// The server wants a client certificate, or refuses ours.
    ClientCertificate,
    /// The server speaks something else.
    NotTls,
    /// Anything else.
    Other,
}

impl DialError {
    /// Its meaning for the next try.
    pub fn kind(self) -> RefusalKind {
        match self {
            DialError::Http { asks, .. } | DialError::Mqtt(asks) => asks,
            DialError::LoginElsewhere | DialError::Proxy(ProxyFault::Login) => RefusalKind::Unauthorized,
            DialError::Settings
            | DialError::Dns
            | DialError::NoInterface
            | DialError::Refused
            | DialError::Unreachable
            | DialError::Proxy(
                ProxyFault::Dns | ProxyFault::Refused | ProxyFault::Unreachable | ProxyFault::Blocked,
            )
            | DialError::Tls(_)
            | DialError::TimedOut
            | DialError::Broken
            | DialError::NeedsTls
            | DialError::NotHttp
            | DialError::NotWebSocket
            | DialError::Redirect
            | DialError::RedirectLoop
            | DialError::NotMqtt
            | DialError::NotPublished(_)
            | DialError::NoPong
            | DialError::NoEcho => RefusalKind::Retry,
        }
    }

    /// The same failure on the way to a proxy.
    pub fn of_proxy(self) -> DialError {
        let is_about_name = matches!(self, DialError::Dns | DialError::NoInterface);
        DialError::Proxy(match self == DialError::Refused {
            true => ProxyFault::Refused,
            false if is_about_name => ProxyFault::Dns,
            false => ProxyFault::Unreachable,
        })
    }
}
