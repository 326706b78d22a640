//! What a test of a connection finds: its steps in order, how each went, and what to do about the one that failed. Pure.

use std::time::Duration;

use crate::link::dial_error::{DialError, ProxyFault, PublishFault, TlsFault};
use crate::link::protocol::{Refusal, RefusalKind};

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
    /// SUBSCRIBE and SUBACK (MQTT).
    Subscribe,
    /// What the broker tells of itself (MQTT).
    Broker,
    /// A ping and its answer.
    Ping,
    /// A publication that comes back (MQTT).
    Publish,
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
            DialStep::Subscribe => "subscribe",
            DialStep::Broker => "broker",
            DialStep::Ping => "ping",
            DialStep::Publish => "publish",
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
            DialStep::Subscribe => "while waiting for the answer to SUBSCRIBE",
            DialStep::Broker => "while asking the broker about itself",
            DialStep::Ping => "while waiting for the answer to a ping",
            DialStep::Publish => "while waiting for a publication to come back",
        }
    }
}

impl Failed {
    /// A step that failed for this reason, told without the target, which stands above. Credentials that are refused are a step of their own. `clock_is_wrong` tells that
    /// the clock is at a time at which this program did not exist.
    pub fn new(step: DialStep, refusal: Refusal, took: Duration, clock_is_wrong: bool) -> Failed {
        let Refusal { cause, error, .. } = refusal;
        // The proxy's credentials are not the server's.
        let is_login = cause.kind() == RefusalKind::Unauthorized && !matches!(cause, DialError::Proxy(_));
        let step = if is_login { DialStep::Authentication } else { step };
        Failed { step, took, error, hint: hint(step, cause, clock_is_wrong) }
    }
}

fn hint(step: DialStep, cause: DialError, clock_is_wrong: bool) -> &'static str {
    match cause {
        DialError::Settings => hint_of_step(DialStep::Settings),
        DialError::Dns => hint_of_step(DialStep::Name),
        DialError::NoInterface => {
            "name an interface of this machine behind the `%25` in `url` (`ip link` lists them)"
        }
        DialError::Refused => "nobody listens there: check the port in `url`, and that the server runs",
        DialError::Proxy(fault) => hint_of_proxy(fault),
        DialError::Tls(fault) => hint_of_tls(fault, clock_is_wrong),
        DialError::NeedsTls => "use wss:// in `url`",
        DialError::NotHttp if step == DialStep::Request => "use https:// in `url`",
        DialError::Http { status, asks } => hint_of_status(step, status, asks),
        DialError::LoginElsewhere => {
            "put the address that the redirect leads to into `url`, if it is to know the credentials of this client"
        }
        DialError::Redirect => "put the address that it names into `url`",
        DialError::RedirectLoop => {
            "check `url`: the server sends this client in a circle; does something end TLS in front of it without telling it so?"
        }
        DialError::Mqtt(RefusalKind::Unauthorized) => hint_of_step(DialStep::Authentication),
        DialError::NotPublished(fault) => hint_of_publication(fault),
        DialError::NoEcho => UNECHOED,
        DialError::Unreachable
        | DialError::TimedOut
        | DialError::Broken
        | DialError::NotHttp
        | DialError::NotWebSocket
        | DialError::NotMqtt
        | DialError::Mqtt(RefusalKind::Retry | RefusalKind::Busy { .. })
        | DialError::NoPong => hint_of_step(step),
    }
}

/// Where the step is all that is known.
fn hint_of_step(step: DialStep) -> &'static str {
    match step {
        DialStep::Settings => {
            "mend what it names in the configuration; `holdfast check` shows what is in force"
        }
        DialStep::Name => {
            "check the spelling of the host in `url`, and that this machine has a name server (/etc/resolv.conf)"
        }
        DialStep::Tcp => {
            "check the network of this machine, its route to the address, and firewalls on the way"
        }
        DialStep::Proxy => hint_of_proxy(ProxyFault::Blocked),
        DialStep::Tls => "check that the server speaks TLS 1.2 or 1.3 on this port",
        DialStep::Upgrade => {
            "check that `url` leads to a WebSocket server: a proxy in front of it must pass the upgrade on"
        }
        DialStep::Request => "check that `url` leads to a server that takes batches by POST",
        DialStep::Connack => {
            "check that the port is the broker's MQTT port (1883, with TLS 8883), and its log"
        }
        DialStep::Authentication => {
            "check user, password or token of this table, and what the server lets it do"
        }
        DialStep::Publish => hint_of_publication(PublishFault::Other),
        DialStep::Subscribe | DialStep::Broker => {
            "check `topics`, and what the broker lets this user read (its access control list)"
        }
        DialStep::Ping => {
            "the peer does not answer pings: confirm = \"pong\" cannot work with it; use \"ack\" or \"none\""
        }
    }
}

fn hint_of_publication(fault: PublishFault) -> &'static str {
    match fault {
        PublishFault::Unauthorized => {
            "let this user (or client id) of the broker write to the topics that the agent uses: below `prefix` of [mqtt], or `topic` of the client"
        }
        PublishFault::TooLarge => {
            "raise the broker's limit for the size of a message (mosquitto: message_size_limit, max_packet_size)"
        }
        PublishFault::Dropped => {
            "the broker's access rules do not let this user write to this topic, so that every message is lost, or only not read it, which does no harm: \
             its log tells which, and so does its answer in MQTT 5"
        }
        PublishFault::Other => "see what the broker says of it in its log",
    }
}

fn hint_of_proxy(fault: ProxyFault) -> &'static str {
    match fault {
        ProxyFault::Dns => {
            "check the spelling of the host in `proxy`, and that this machine has a name server (/etc/resolv.conf)"
        }
        ProxyFault::Refused => "nobody listens there: check the port in `proxy`, and that the proxy runs",
        ProxyFault::Unreachable => hint_of_step(DialStep::Tcp),
        ProxyFault::Login => "check `username` and `password` of `proxy`",
        ProxyFault::Blocked => {
            "check that `proxy` is of the right kind (http:// or socks5://), and that it lets this machine reach the server"
        }
    }
}

fn hint_of_tls(fault: TlsFault, clock_is_wrong: bool) -> &'static str {
    match fault {
        TlsFault::Pin => {
            "if the server was given a new key, compare it there and put it into tls.pin (pin for mqtt); else another one answers"
        }
        TlsFault::SelfSigned => {
            "if it is the right one, set tls.ca to the file of this certificate, or tls.pin to its key (ca and pin for mqtt)"
        }
        TlsFault::Expired | TlsFault::NotYetValid if clock_is_wrong => {
            "set this machine's clock, which is far off: nothing is wrong with the certificate as far as can be told"
        }
        TlsFault::Expired => "have the server's certificate renewed",
        TlsFault::NotYetValid => {
            "compare this machine's clock with the server's: one of them is off, or the certificate was issued for later"
        }
        TlsFault::UnknownIssuer => "set tls.ca to the PEM file of the authority that issued it (ca for mqtt)",
        TlsFault::Name => {
            "use a name of the certificate in `url`, or set tls.server_name (server_name for mqtt)"
        }
        TlsFault::ClientCertificate => "set cert and key to a client certificate that the server knows",
        TlsFault::NotTls => {
            "use ws://, http:// or mqtt:// if the server speaks no TLS there, or its TLS port"
        }
        TlsFault::Other => hint_of_step(DialStep::Tls),
    }
}

fn hint_of_status(step: DialStep, status: u16, asks: RefusalKind) -> &'static str {
    let posts = step == DialStep::Request;
    match (asks, status) {
        (RefusalKind::Unauthorized, _) => hint_of_step(DialStep::Authentication),
        (RefusalKind::Busy { .. }, _) if posts => {
            "the server has no time or is out of order; the agent holds everything and tries again"
        }
        (RefusalKind::Busy { .. }, _) => {
            "the server asks for time; the agent waits as long as it says, up to `reconnect.max`, and tries again"
        }
        (RefusalKind::Retry, 404) => "check the path in `url`",
        (RefusalKind::Retry, 405) if posts => {
            "have the server take POST at this path, or check the path in `url`"
        }
        (RefusalKind::Retry, 415) if posts => "choose an `encoding` and `compression` that the server takes",
        (RefusalKind::Retry, 426) if !posts => {
            "have the proxy in front of the server pass on `Upgrade` and `Connection` (nginx: proxy_http_version 1.1)"
        }
        (RefusalKind::Retry, _) => hint_of_step(step),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(step: DialStep, cause: DialError, error: &str) -> Failed {
        Failed::new(step, Refusal::new(cause, error), Duration::ZERO, false)
    }

    fn answers(status: u16, asks: RefusalKind) -> DialError {
        DialError::Http { status, asks }
    }

    #[test]
    fn refused_credentials_are_a_step_of_their_own() {
        let failed = failed(DialStep::Upgrade, answers(401, RefusalKind::Unauthorized), "HTTP 401");
        assert_eq!(failed.step, DialStep::Authentication);
        assert!(failed.hint.contains("password"));
    }

    #[test]
    fn faults_of_the_proxy_are_told_as_the_proxys() {
        let login = failed(DialStep::Proxy, DialError::Proxy(ProxyFault::Login), "HTTP 407");
        assert_eq!(login.step, DialStep::Proxy);
        assert!(login.hint.contains("of `proxy`"));
        for (step, cause) in [(DialStep::Name, DialError::Dns), (DialStep::Tcp, DialError::Refused)] {
            let failed = failed(step, cause.of_proxy(), "cannot reach the proxy: x");
            assert!(failed.step == step && failed.hint.contains(" in `proxy`"), "{failed:?}");
        }
    }

    #[test]
    fn a_peer_that_does_not_echo_is_told_apart_from_one_that_does_not_answer() {
        let hint = |cause| failed(DialStep::Ping, cause, "x").hint;
        assert!(hint(DialError::NoEcho).starts_with("this peer does not echo pings"));
        assert!(hint(DialError::NoPong).contains("does not answer pings"));
    }

    #[test]
    fn a_clock_that_is_wrong_is_told_apart_from_a_certificate_that_is() {
        let hint = |fault, clock_is_wrong| {
            let refusal = Refusal::new(DialError::Tls(fault), "x");
            Failed::new(DialStep::Tls, refusal, Duration::ZERO, clock_is_wrong).hint
        };
        let (early, late) = (TlsFault::NotYetValid, TlsFault::Expired);
        let hints = [hint(early, true), hint(early, false), hint(late, false), hint(TlsFault::Name, false)];
        assert!(hints[0].starts_with("set this machine's clock") && hint(late, true) == hints[0]);
        assert!(
            hints[1].starts_with("compare")
                && hints[2].contains("renewed")
                && hints[3].contains("server_name")
        );
    }

    #[test]
    fn a_self_signed_certificate_and_another_key_than_the_pinned_one_have_their_own_advice() {
        let hint = |fault| failed(DialStep::Tls, DialError::Tls(fault), "x").hint;
        assert!(hint(TlsFault::SelfSigned).contains("set tls.ca"));
        assert!(hint(TlsFault::Pin).contains("compare it"));
    }

    #[test]
    fn each_kind_of_answer_to_the_upgrade_has_its_advice() {
        let hint = |cause| failed(DialStep::Upgrade, cause, "x").hint;
        let busy = RefusalKind::Busy { retry_after: None };
        assert!(hint(answers(503, busy)).contains("asks for time"));
        assert!(hint(answers(404, RefusalKind::Retry)).contains("path"));
        assert!(hint(answers(426, RefusalKind::Retry)).contains("nginx"));
        assert!(hint(answers(405, RefusalKind::Retry)).contains("WebSocket server"));
        assert!(hint(DialError::NeedsTls).contains("wss://"));
        assert!(hint(DialError::Redirect).contains("into `url`"));
        assert!(hint(DialError::RedirectLoop).contains("circle"));
        assert!(hint(DialError::LoginElsewhere).contains("redirect"));
        assert!(failed(DialStep::Name, DialError::NoInterface, "x").hint.contains("ip link"));
    }

    #[test]
    fn a_refused_client_certificate_has_its_advice_also_where_it_shows_behind_the_handshake() {
        let refused = DialError::Tls(TlsFault::ClientCertificate);
        for step in [DialStep::Tls, DialStep::Upgrade, DialStep::Request, DialStep::Connack] {
            assert!(failed(step, refused, "x").hint.contains("set cert and key"), "{step:?}");
        }
    }

    #[test]
    fn the_words_of_an_error_change_no_advice() {
        let cases = [
            (DialStep::Tcp, DialError::Unreachable, "cannot connect to refused.example: no route"),
            (DialStep::Upgrade, DialError::Broken, "after a redirect to wss://hub:4047: HTTP 404, HTTP 426"),
            (DialStep::Request, DialError::TimedOut, "timed out after 415 s, 404 not followed"),
            (
                DialStep::Tls,
                DialError::Tls(TlsFault::Other),
                "the certificate expired.example is self-signed",
            ),
            (DialStep::Ping, DialError::NoPong, NO_ECHO),
        ];
        for (step, cause, error) in cases {
            assert_eq!(failed(step, cause, error).hint, hint_of_step(step), "{error}");
        }
    }
}
