//! What a test of a connection finds: its steps in order, how each went, and what to do about the one that failed. Pure.

use std::time::Duration;

use crate::link::protocol::RefusalKind;

/// What is said of a peer whose pongs confirm nothing.
pub const UNECHOED: &str = "this peer does not echo pings: confirm = \"pong\" proves nothing here, use \"ack\" with a peer that speaks holdfast.v1, or \"none\"";

/// The error of a test that found such a peer.
pub const NO_ECHO: &str = "it answers pings, but not with what they hold (RFC 6455 §5.5.3)";

/// How a peer answers a ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PingAnswer {
    /// With what the ping held (RFC 6455 §5.5.3).
    Echo,
    /// With something else.
    Other,
}

/// A step on the way to a connection that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialStep {
    /// Settings, secrets and files are read.
    Settings,
    /// The name becomes addresses.
    Name,
    /// One of them takes the connection.
    Tcp,
    /// The proxy leads to the server.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// The WebSocket handshake (RFC 6455 §4).
    Upgrade,
    /// A POST without messages (HTTP).
    Request,
    /// CONNECT and CONNACK (MQTT 3.1.1 §3.1, §3.2).
    Connack,
    /// The peer takes the credentials, or asks for none.
    Authentication,
    /// A ping and its answer.
    Ping,
}

/// A step that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedStep {
    /// Which one.
    pub step: DialStep,
    /// How long it took.
    pub took: Duration,
    /// What was found, as `TLS 1.3, certificate good for 60 days`; may be empty.
    pub found: String,
}

/// The step that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Which one.
    pub step: DialStep,
    /// How long it took.
    pub took: Duration,
    /// Why, in plain words.
    pub error: String,
    /// What to do.
    pub hint: &'static str,
}

impl DialStep {
    /// Its name in the table: `tls`.
    pub fn name(self) -> &'static str {
        match self {
            DialStep::Settings => "settings",
            DialStep::Name => "name",
            DialStep::Tcp => "tcp",
            DialStep::Proxy => "proxy",
            DialStep::Tls => "tls",
            DialStep::Upgrade => "upgrade",
            DialStep::Request => "request",
            DialStep::Connack => "connack",
            DialStep::Authentication => "authentication",
            DialStep::Ping => "ping",
        }
    }

    /// Where a deadline passed: `in the TLS handshake`.
    pub fn place(self) -> &'static str {
        match self {
            DialStep::Settings => "at its start",
            DialStep::Name => "while resolving its name: the resolver does not answer",
            DialStep::Tcp => "while connecting",
            DialStep::Proxy => "while waiting for the answer of the proxy",
            DialStep::Tls => "in the TLS handshake",
            DialStep::Upgrade => "while waiting for the answer to the upgrade",
            DialStep::Request => "while waiting for the answer to a request",
            DialStep::Connack => "while waiting for the answer to CONNECT",
            DialStep::Authentication => "while waiting for the answer to the credentials",
            DialStep::Ping => "while waiting for the answer to a ping",
        }
    }
}

impl Failed {
    /// A step that failed for this reason. Credentials that are refused are a step of their own. `clock_is_wrong` tells that
    /// the clock is at a time at which this program did not exist.
    pub fn new(
        step: DialStep,
        kind: RefusalKind,
        error: String,
        took: Duration,
        clock_is_wrong: bool,
    ) -> Failed {
        // The proxy's credentials are not the server's.
        let is_login = kind == RefusalKind::Unauthorized && step != DialStep::Proxy;
        let step = if is_login { DialStep::Authentication } else { step };
        let hint = hint(step, kind, &error, clock_is_wrong);
        Failed { step, took, error, hint }
    }
}

fn hint(step: DialStep, kind: RefusalKind, error: &str, clock_is_wrong: bool) -> &'static str {
    match step {
        DialStep::Settings => {
            "mend what it names in the configuration; `holdfast check` shows what is in force"
        }
        DialStep::Name if error.contains("network interface") => {
            "name an interface of this machine behind the `%25` in `url` (`ip link` lists them)"
        }
        DialStep::Name => {
            "check the spelling of the host in `url`, and that this machine has a name server (/etc/resolv.conf)"
        }
        DialStep::Tcp if error.contains("refused") => {
            "nobody listens there: check the port in `url`, and that the server runs"
        }
        DialStep::Tcp => {
            "check the network of this machine, its route to the address, and firewalls on the way"
        }
        DialStep::Proxy if kind == RefusalKind::Unauthorized => "check `username` and `password` of `proxy`",
        DialStep::Proxy => {
            "check that `proxy` is of the right kind (http:// or socks5://), and that it lets this machine reach the server"
        }
        DialStep::Tls => hint_of_tls(error, clock_is_wrong),
        DialStep::Upgrade => hint_of_upgrade(kind, error),
        DialStep::Request => hint_of_request(kind, error),
        DialStep::Connack => {
            "check that the port is the broker's MQTT port (1883, with TLS 8883), and its log"
        }
        DialStep::Authentication if error.contains("not sent to another host") => {
            "put the address that the redirect leads to into `url`, if it is to know the credentials of this client"
        }
        DialStep::Authentication => {
            "check user, password or token of this table, and what the server lets it do"
        }
        DialStep::Ping if error == NO_ECHO => UNECHOED,
        DialStep::Ping => {
            "the peer does not answer pings: confirm = \"pong\" cannot work with it; use \"ack\" or \"none\""
        }
    }
}

fn hint_of_tls(error: &str, clock_is_wrong: bool) -> &'static str {
    match error {
        _ if error.contains("tls.pin") => {
            "if the server was given a new key, compare it there and put it into tls.pin (pin for mqtt); else another one answers"
        }
        _ if error.contains("self-signed") => {
            "if it is the right one, set tls.ca to the file of this certificate, or tls.pin to its key (ca and pin for mqtt)"
        }
        _ if error.contains("expired") || error.contains("not valid yet") => {
            if clock_is_wrong {
                "set this machine's clock, which is far off: nothing is wrong with the certificate as far as can be told"
            } else if error.contains("expired") {
                "have the server's certificate renewed; this machine's clock seems right"
            } else {
                "compare this machine's clock with the server's: one of them is off, or the certificate was issued for later"
            }
        }
        _ if error.contains("unknown issuer") => {
            "set tls.ca to the PEM file of the authority that issued it (ca for mqtt)"
        }
        _ if error.contains("not for") || error.contains("another name") => {
            "use a name of the certificate in `url`, or set tls.server_name (server_name for mqtt)"
        }
        _ if error.contains("client certificate") => {
            "set cert and key to a client certificate that the server knows"
        }
        _ if error.contains("speak TLS") => {
            "use ws://, http:// or mqtt:// if the server speaks no TLS there, or its TLS port"
        }
        _ => "check that the server speaks TLS 1.2 or 1.3 on this port",
    }
}

fn hint_of_request(kind: RefusalKind, error: &str) -> &'static str {
    match kind {
        RefusalKind::Busy { .. } => {
            "the server has no time or is out of order; the agent holds everything and tries again"
        }
        RefusalKind::Unauthorized => "check the credentials of this client",
        RefusalKind::Retry if error.contains("404") => "check the path in `url`",
        RefusalKind::Retry if error.contains("405") => {
            "have the server take POST at this path, or check the path in `url`"
        }
        RefusalKind::Retry if error.contains("415") => {
            "choose an `encoding` and `compression` that the server takes"
        }
        RefusalKind::Retry if error.contains("needs https") => "use https:// in `url`",
        RefusalKind::Retry if error.contains("not followed") => "put the address that it names into `url`",
        RefusalKind::Retry => "check that `url` leads to a server that takes batches by POST",
    }
}

fn hint_of_upgrade(kind: RefusalKind, error: &str) -> &'static str {
    match kind {
        RefusalKind::Busy { .. } => {
            "the server asks for time; the agent waits as long as it says, up to `reconnect.max`, and tries again"
        }
        RefusalKind::Unauthorized => "check the credentials of this client",
        RefusalKind::Retry if error.contains("404") => "check the path in `url`",
        RefusalKind::Retry if error.contains("speaks TLS") => "use wss:// in `url`",
        RefusalKind::Retry if error.contains("redirects more than") => {
            "check `url`: the server sends this client in a circle; does something end TLS in front of it without telling it so?"
        }
        RefusalKind::Retry if error.contains("HTTP 426") => {
            "have the proxy in front of the server pass on `Upgrade` and `Connection` (nginx: proxy_http_version 1.1)"
        }
        RefusalKind::Retry if error.contains("not followed") => "put the address that it names into `url`",
        RefusalKind::Retry => {
            "check that `url` leads to a WebSocket server: a proxy in front of it must pass the upgrade on"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(step: DialStep, kind: RefusalKind, error: &str, clock_is_wrong: bool) -> Failed {
        Failed::new(step, kind, error.to_owned(), Duration::ZERO, clock_is_wrong)
    }

    #[test]
    fn refused_credentials_are_a_step_of_their_own() {
        let failed = failed(DialStep::Upgrade, RefusalKind::Unauthorized, "HTTP 401", false);
        assert_eq!(failed.step, DialStep::Authentication);
        assert!(failed.hint.contains("password"));
    }

    #[test]
    fn credentials_that_the_proxy_refuses_are_told_as_the_proxys() {
        let failed = failed(DialStep::Proxy, RefusalKind::Unauthorized, "HTTP 407", false);
        assert_eq!(failed.step, DialStep::Proxy);
        assert!(failed.hint.contains("of `proxy`"));
    }

    #[test]
    fn a_peer_that_does_not_echo_is_told_apart_from_one_that_does_not_answer() {
        let hint = |error: &str| failed(DialStep::Ping, RefusalKind::Retry, error, false).hint;
        assert!(hint(NO_ECHO).starts_with("this peer does not echo pings"));
        assert!(hint("no pong within 10 s").contains("does not answer pings"));
    }

    #[test]
    fn a_clock_that_is_wrong_is_told_apart_from_a_certificate_that_is() {
        let hint = |error: &str, clock_is_wrong| {
            failed(DialStep::Tls, RefusalKind::Retry, error, clock_is_wrong).hint
        };
        let (early, late) = ("the certificate is not valid yet", "the certificate has expired");
        let hints =
            [hint(early, true), hint(early, false), hint(late, false), hint("it is not for a", false)];
        assert!(hints[0].starts_with("set this machine's clock") && hint(late, true) == hints[0]);
        assert!(
            hints[1].starts_with("compare")
                && hints[2].contains("renewed")
                && hints[3].contains("server_name")
        );
    }

    #[test]
    fn a_self_signed_certificate_and_another_key_than_the_pinned_one_have_their_own_advice() {
        let hint = |error| failed(DialStep::Tls, RefusalKind::Retry, error, false).hint;
        assert!(hint("the certificate is self-signed and not known").contains("set tls.ca"));
        assert!(hint("the key is sha256/x, which is not in tls.pin").contains("compare it"));
    }

    #[test]
    fn each_kind_of_answer_to_the_upgrade_has_its_advice() {
        let hint = |kind, error: &str| failed(DialStep::Upgrade, kind, error, false).hint;
        assert!(hint(RefusalKind::Busy { retry_after: None }, "HTTP 503").contains("asks for time"));
        assert!(hint(RefusalKind::Retry, "HTTP 404 Not Found").contains("path"));
        assert!(hint(RefusalKind::Retry, "the server speaks TLS on this port").contains("wss://"));
        assert!(
            hint(RefusalKind::Retry, "HTTP 302 to ws://a, which is not followed: it").contains("into `url`")
        );
        assert!(hint(RefusalKind::Retry, "the server redirects more than 3 times").contains("circle"));
        let abroad = "after a redirect to wss://a: HTTP 401 (credentials are not sent to another host)";
        assert!(hint(RefusalKind::Unauthorized, abroad).contains("redirect"));
        let zone =
            failed(DialStep::Name, RefusalKind::Retry, "this machine has no network interface e", false);
        assert!(zone.hint.contains("ip link"));
    }
}
