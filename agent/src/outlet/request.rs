//! Request of a client to its server: url, parameters, headers and credentials become the fields of each POST, or the
//! bytes of the handshake request of RFC 6455 §4.1.
//!
//! That one is written here and not by tungstenite, which logs the whole request, credentials included.

use async_tungstenite::tungstenite::handshake::client::generate_key;
use async_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_core::config::Url;
use holdfast_core::config::client::{Auth, Client, Confirm, Framing};
use holdfast_core::config::handshake::RESERVED;
use holdfast_core::config::link_kind::{LinkKind, SCHEMES};
use holdfast_core::config::tls::ClientTls;
use holdfast_core::ids::EndpointId;
use holdfast_core::link::dial_error::DialError;
use holdfast_core::link::protocol::Refusal;
use holdfast_core::link::redirect::{Asked, REDIRECTS_MAX};
use holdfast_core::wire::SUBPROTOCOL;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::net::{Target, Tunnel};
use crate::os::secret;

const PLAIN_PORT: u16 = 80;
const SECURE_PORT: u16 = 443;

/// A request that is ready to be written. It holds credentials, so it has no `Debug`.
pub struct Request {
    /// Where it goes.
    pub target: Target,
    /// How errors call the target: scheme, host and port, without what may be secret.
    pub label: String,
    /// Path and query.
    pub path: String,
    fields: Fields,
    /// The bytes of a handshake request.
    pub head: Vec<u8>,
    /// The `Sec-WebSocket-Key` in it.
    pub key: String,
    /// The subprotocols in it.
    pub offered: Vec<String>,
    /// The proxy on the way, if there is one.
    pub tunnel: Option<Tunnel>,
    /// TLS settings for the target.
    pub tls: ClientTls,
    /// What is sent first on the connection.
    pub first: Vec<String>,
    /// A redirect has led it to another host than the configured one: it holds no credentials.
    pub is_abroad: bool,
    asked: Asked,
    /// The `Authorization` for the configured host.
    authorization: Option<String>,
}

impl Request {
    /// Reads all secrets and puts the request to one of the client's endpoints together. Errors name the parameter or header,
    /// never its value.
    pub fn new(client: &Client, endpoint: EndpointId) -> Result<Request, String> {
        let text = client.endpoints().into_iter().nth(endpoint.0).ok_or("it has no url")?;
        let url = parse(&text)?;
        let (path, query) = url.path_and_query();
        let login = login_in_path(&client.auth)?;
        let parameters = parameters(client)?;
        let parts = [query, &parameters].into_iter().filter(|part| !part.is_empty());
        let query = parts.collect::<Vec<_>>().join("&");
        let mark = if query.is_empty() { "" } else { "?" };
        let private = query.split('&').filter(|pair| pair.contains('=')).map(str::to_owned);
        let private = private.chain((!login.is_empty()).then(|| login.clone())).collect();
        let url_asked = format!("{}://{}{login}{path}{mark}{query}", url.scheme, url.authority);
        let asked = Asked { url: url_asked, private, speaks_first: !client.message.is_empty() };
        Request::build(client, asked, credentials(&client.auth, &url)?, false)
    }

    /// The same for a dial.
    pub fn of(client: &Client, endpoint: EndpointId) -> Result<Request, Refusal> {
        Request::new(client, endpoint).map_err(|cause| unusable(client, cause))
    }

    /// The end of a chain of redirects.
    pub fn redirected_too_often(&self) -> Refusal {
        let to = &self.label;
        let error = format!("the server redirects more than {REDIRECTS_MAX} times, at last to {to}");
        Refusal::new(DialError::RedirectLoop, error)
    }

    /// The request to where a redirect leads. To another host nothing goes along that proves our identity, not even later on the
    /// way back.
    pub fn redirected(&self, client: &Client, location: &str) -> Result<Request, String> {
        let redirect = self.asked.follow(location)?;
        let is_abroad = self.is_abroad || redirect.leaves;
        let authorization = self.authorization.clone().filter(|_| !is_abroad);
        Request::build(client, Asked { url: redirect.url, ..self.asked.clone() }, authorization, is_abroad)
    }

    fn build(
        client: &Client,
        asked: Asked,
        authorization: Option<String>,
        is_abroad: bool,
    ) -> Result<Request, String> {
        let url = parse(&asked.url)?;
        let [plain, secure] = LinkKind::of(&asked.url).unwrap_or_default().schemes();
        let target = Target::of(&url, (plain, PLAIN_PORT), (secure, SECURE_PORT));
        let authority = target.authority(if target.secure { SECURE_PORT } else { PLAIN_PORT });
        let mut fields = Fields::default();
        fields.set("Host", authority.clone());
        fields.set("User-Agent", concat!("holdfast/", env!("CARGO_PKG_VERSION")).to_owned());
        if let Some(authorization) = &authorization {
            fields.set("Authorization", authorization.clone());
        }
        if let Some(origin) = &client.origin {
            fields.set("Origin", origin.clone());
        }
        let ours =
            (client.framing == Framing::Envelope && client.confirm == Confirm::Ack).then_some(SUBPROTOCOL);
        let wanted: Vec<&str> =
            ours.into_iter().chain(client.subprotocols.iter().map(String::as_str)).collect();
        if !wanted.is_empty() {
            fields.set("Sec-WebSocket-Protocol", wanted.join(", "));
        }
        for (name, parameter) in client.headers.iter().filter(|_| !is_abroad) {
            fields.set(checked_name(name)?, secret::read(&parameter.value)?);
        }
        let offered = fields
            .value("Sec-WebSocket-Protocol")
            .map_or_else(Vec::new, |list| list.split(',').map(|name| name.trim().to_owned()).collect());
        let (path, query) = url.path_and_query();
        let mark = if query.is_empty() { "" } else { "?" };
        let path = format!("{path}{mark}{query}");
        let key = generate_key();
        if client.kind() == LinkKind::WebSocket {
            fields.set("Connection", "Upgrade".to_owned());
            fields.set("Upgrade", "websocket".to_owned());
            fields.set("Sec-WebSocket-Version", "13".to_owned());
            fields.set("Sec-WebSocket-Key", key.clone());
        }
        let head = fields.head(&path)?;
        let tunnel = client.proxy.as_ref().map(Tunnel::new).transpose()?;
        let first = client.message.iter().map(secret::read).collect::<Result<_, _>>()?;
        let label = format!("{}://{authority}", url.scheme);
        let tls = if is_abroad { abroad(&client.tls) } else { client.tls.clone() };
        Ok(Request {
            target,
            label,
            path,
            fields,
            head,
            key,
            offered,
            tunnel,
            tls,
            first,
            is_abroad,
            asked,
            authorization,
        })
    }

    /// Names and values of its fields.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Settings of a client that no connection can be made with.
pub fn unusable(client: &Client, cause: impl Into<String>) -> Refusal {
    Refusal::new(DialError::Settings, cause).dialing(format!("client {}", client.id))
}

fn parse(text: &str) -> Result<Url<'_>, String> {
    Url::parse(text, SCHEMES).map_err(|error| format!("its url {error}"))
}

/// Another host has another name, and a client certificate is a credential.
fn abroad(tls: &ClientTls) -> ClientTls {
    ClientTls { cert: None, key: None, server_name: None, ..tls.clone() }
}

/// Header fields in the order in which they were first set.
#[derive(Default)]
struct Fields(Vec<(String, String)>);

impl Fields {
    fn set(&mut self, name: &str, value: String) {
        match self.0.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some(field) => field.1 = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn head(&self, path_and_query: &str) -> Result<Vec<u8>, String> {
        let mut head = format!("GET {path_and_query} HTTP/1.1\r\n");
        for (name, value) in &self.0 {
            HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| format!("cannot send header {name}: its value holds a control character"))?;
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        Ok(head.into_bytes())
    }
}

fn checked_name(name: &str) -> Result<&str, String> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("cannot send header {name:?}: that is no name"))?;
    if RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
        return Err(format!("cannot send header {name}: it belongs to the handshake"));
    }
    Ok(name)
}

/// `params`, percent-encoded.
fn parameters(client: &Client) -> Result<String, String> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, parameter) in &client.params {
        query.append_pair(name, &secret::read(&parameter.value)?);
    }
    Ok(query.finish())
}

/// `/auth/USER/PASSWORD`, each percent-encoded as one segment.
fn login_in_path(auth: &Auth) -> Result<String, String> {
    let Auth::Url { username, password } = auth else { return Ok(String::new()) };
    let segment = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    Ok(format!("/auth/{}/{}", segment(username), segment(&secret::read(password)?)))
}

/// The `Authorization` field: what `auth` says, else Basic with the userinfo of the url (RFC 3986 §3.2.1).
fn credentials(auth: &Auth, url: &Url) -> Result<Option<String>, String> {
    Ok(match auth {
        Auth::Basic { username, password } => Some(basic(username, &secret::read(password)?)),
        Auth::Bearer(token) => Some(format!("Bearer {}", secret::read(token)?)),
        Auth::None | Auth::Url { .. } => {
            let basic = |(username, password): (&str, Option<&str>)| {
                basic(&decoded(username), &decoded(password.unwrap_or_default()))
            };
            url.user.map(basic)
        }
    })
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// RFC 7617 §2.
fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

#[cfg(test)]
mod tests {
    use super::super::uplink::tests::client;
    use super::*;
    use holdfast_core::config::Secret;

    fn plain(value: &str) -> Secret {
        Secret::Plain(value.to_owned())
    }

    fn head(client: &Client) -> String {
        String::from_utf8(Request::new(client, EndpointId(0)).unwrap_or_else(|error| panic!("{error}")).head)
            .unwrap()
    }

    fn error(client: &Client) -> String {
        Request::new(client, EndpointId(0)).err().unwrap()
    }

    #[test]
    fn parameters_join_the_query_of_the_url_percent_encoded() {
        let mut client = client("ws://hub.example/in?a=1");
        client.params.insert("line".to_owned(), plain("3 & 4").into());
        client.params.insert("zone".to_owned(), plain("ö").into());
        assert!(head(&client).starts_with("GET /in?a=1&line=3+%26+4&zone=%C3%B6 HTTP/1.1\r\n"));
        client.url = Some("ws://hub.example".to_owned());
        assert!(head(&client).starts_with("GET /?line="));
    }

    #[test]
    fn the_host_field_keeps_brackets_and_drops_only_the_default_port() {
        assert!(head(&client("ws://hub.example:80/")).contains("\r\nHost: hub.example\r\n"));
        assert!(head(&client("ws://hub.example:443/")).contains("\r\nHost: hub.example:443\r\n"));
        assert!(head(&client("wss://[2001:db8::1]:8443/")).contains("\r\nHost: [2001:db8::1]:8443\r\n"));
    }

    #[test]
    fn the_userinfo_of_the_url_becomes_basic_credentials_and_stands_nowhere_else() {
        let client = client("ws://gw%2D17:p%40ss@hub.example/in");
        let text = head(&client);
        assert!(text.contains(&format!("\r\nAuthorization: Basic {}\r\n", STANDARD.encode("gw-17:p@ss"))));
        assert!(text.contains("\r\nHost: hub.example\r\n"));
        assert!(!text.contains("p%40ss"));
        assert_eq!(Request::new(&client, EndpointId(0)).ok().unwrap().label, "ws://hub.example");
    }

    #[test]
    fn a_configured_header_replaces_the_default_of_its_name() {
        let mut client = client("ws://hub.example/");
        client.headers.insert("user-agent".to_owned(), plain("mine/1").into());
        let text = head(&client).to_lowercase();
        assert!(text.contains("\r\nuser-agent: mine/1\r\n"));
        assert_eq!(text.matches("user-agent").count(), 1);
    }

    #[test]
    fn a_value_that_would_break_out_of_its_header_is_refused_without_being_shown() {
        let mut client = client("ws://hub.example/");
        client.headers.insert("x-api-key".to_owned(), plain("s3cret\r\nx-evil: 1").into());
        assert_eq!(error(&client), "cannot send header x-api-key: its value holds a control character");
        client.headers.clear();
        client.headers.insert("Sec-WebSocket-Key".to_owned(), plain("x").into());
        assert_eq!(error(&client), "cannot send header Sec-WebSocket-Key: it belongs to the handshake");
    }

    #[test]
    fn a_redirect_on_the_same_host_takes_everything_along_and_its_own_path() {
        let mut client = client("ws://gw:pw@hub.example/in?a=1");
        client.params.insert("token".to_owned(), plain("s3cret").into());
        client.headers.insert("x-api-key".to_owned(), plain("k3y").into());
        let first = Request::new(&client, EndpointId(0)).ok().unwrap();
        let second = first.redirected(&client, "https://hub.example:8443/in?a=1&token=s3cret").ok().unwrap();
        let text = String::from_utf8(second.head).unwrap();
        assert!(
            text.starts_with("GET /in?a=1&token=s3cret HTTP/1.1\r\nHost: hub.example:8443\r\n"),
            "{text}"
        );
        assert!(
            text.contains("\r\nAuthorization: Basic ") && text.contains("\r\nx-api-key: k3y\r\n"),
            "{text}"
        );
        assert_eq!(second.label, "wss://hub.example:8443");
    }

    #[test]
    fn a_redirect_to_another_host_takes_nothing_along_that_proves_our_identity_and_never_gets_it_back() {
        let mut client = client("wss://gw:pw@hub.example/in");
        client.headers.insert("x-api-key".to_owned(), plain("k3y").into());
        client.tls = ClientTls {
            cert: Some("c".into()),
            key: Some("k".into()),
            server_name: Some("hub".to_owned()),
            ..ClientTls::default()
        };
        let mut request = Request::new(&client, EndpointId(0)).ok().unwrap();
        for location in ["https://node7/in", "/other", "https://hub.example/in"] {
            request = request.redirected(&client, location).ok().unwrap();
            let text = String::from_utf8(request.head.clone()).unwrap();
            assert!(!text.contains("Authorization") && !text.contains("x-api-key"), "{text}");
            assert_eq!(request.tls, ClientTls::default());
        }
    }

    #[test]
    fn a_url_in_other_legal_forms_leads_to_the_same_place() {
        let text = head(&client("WS://[fe80::1%25eth0]:/in"));
        assert!(text.starts_with("GET /in HTTP/1.1\r\nHost: [fe80::1]\r\n"), "{text}");
        let request = Request::new(&client("ws://[fe80::1%25eth0]:81"), EndpointId(0)).ok().unwrap();
        assert_eq!((request.target.host.as_str(), request.target.port), ("fe80::1%eth0", 81));
    }

    #[test]
    fn the_subprotocol_is_offered_only_where_the_peer_acknowledges_envelopes() {
        let mut client = client("ws://hub.example/");
        assert!(!head(&client).contains(SUBPROTOCOL));
        client.framing = Framing::Envelope;
        assert!(!head(&client).contains(SUBPROTOCOL));
        client.confirm = Confirm::Ack;
        assert!(head(&client).contains("\r\nSec-WebSocket-Protocol: holdfast.v1\r\n"));
    }
}
