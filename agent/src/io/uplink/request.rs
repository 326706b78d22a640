//! The handshake request of RFC 6455 §4.1: url, parameters, headers and credentials become the bytes of its head.
//!
//! It is written here and not by tungstenite, which logs the whole request, credentials included.

use async_tungstenite::tungstenite::handshake::client::generate_key;
use async_tungstenite::tungstenite::http::{HeaderName, HeaderValue, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_core::config::client::{Auth, Client, Confirm, Framing};
use holdfast_core::config::handshake::RESERVED;
use holdfast_core::wire::SUBPROTOCOL;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::io::net::{Target, Tunnel};
use crate::io::secret;

/// A request that is ready to be written. It holds credentials, so it has no `Debug`.
pub struct Request {
    /// Where it goes.
    pub target: Target,
    /// How errors call the target: scheme, host and port, without what may be secret.
    pub label: String,
    /// The bytes to write.
    pub head: Vec<u8>,
    /// The `Sec-WebSocket-Key` in it.
    pub key: String,
    /// The subprotocols in it.
    pub offered: Vec<String>,
    /// The proxy on the way, if there is one.
    pub tunnel: Option<Tunnel>,
    /// What is sent first on the connection.
    pub first: Vec<String>,
}

impl Request {
    /// Reads all secrets and puts the request to one of the client's endpoints together. Errors name the parameter or header,
    /// never its value.
    pub fn new(client: &Client, endpoint: usize) -> Result<Request, String> {
        let url = client.endpoints().into_iter().nth(endpoint).ok_or("it has no url")?;
        let uri: Uri = url.parse().map_err(|_| "its url is not sound")?;
        let target = Target::of(&uri, ("ws", 80), ("wss", 443))?;
        let (scheme, default_port) = if target.secure { ("wss", 443) } else { ("ws", 80) };
        let authority = target.authority(default_port);
        let key = generate_key();
        let mut fields = Fields::default();
        fields.set("Host", authority.clone());
        fields.set("User-Agent", concat!("holdfast/", env!("CARGO_PKG_VERSION")).to_owned());
        if let Some(credentials) = credentials(&client.auth, &uri)? {
            fields.set("Authorization", credentials);
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
        for (name, parameter) in &client.headers {
            fields.set(checked_name(name)?, secret::read(&parameter.value)?);
        }
        let offered = fields
            .value("Sec-WebSocket-Protocol")
            .map_or_else(Vec::new, |list| list.split(',').map(|name| name.trim().to_owned()).collect());
        fields.set("Connection", "Upgrade".to_owned());
        fields.set("Upgrade", "websocket".to_owned());
        fields.set("Sec-WebSocket-Version", "13".to_owned());
        fields.set("Sec-WebSocket-Key", key.clone());
        let head = fields.head(&path_and_query(client, &uri)?)?;
        let tunnel = client.proxy.as_ref().map(Tunnel::new).transpose()?;
        let first = client.message.iter().map(secret::read).collect::<Result<_, _>>()?;
        Ok(Request { target, label: format!("{scheme}://{authority}"), head, key, offered, tunnel, first })
    }
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

fn path_and_query(client: &Client, uri: &Uri) -> Result<String, String> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, parameter) in &client.params {
        query.append_pair(name, &secret::read(&parameter.value)?);
    }
    let parts = [uri.query().unwrap_or_default(), &query.finish()];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    let mark = if parts.is_empty() { "" } else { "?" };
    Ok(format!("{}{}{mark}{}", login_in_path(&client.auth)?, uri.path(), parts.join("&")))
}

/// `/auth/USER/PASSWORD`, each percent-encoded as one segment.
fn login_in_path(auth: &Auth) -> Result<String, String> {
    let Auth::Url { username, password } = auth else { return Ok(String::new()) };
    let segment = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    Ok(format!("/auth/{}/{}", segment(username), segment(&secret::read(password)?)))
}

/// The `Authorization` field: what `auth` says, else Basic with the userinfo of the url (RFC 3986 §3.2.1).
fn credentials(auth: &Auth, uri: &Uri) -> Result<Option<String>, String> {
    Ok(match auth {
        Auth::Basic { username, password } => Some(basic(username, &secret::read(password)?)),
        Auth::Bearer(token) => Some(format!("Bearer {}", secret::read(token)?)),
        Auth::None | Auth::Url { .. } => {
            let userinfo = uri.authority().and_then(|authority| authority.as_str().rsplit_once('@'));
            userinfo.map(|(userinfo, _)| {
                let (username, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
                basic(&decoded(username), &decoded(password))
            })
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
    use super::super::tests::client;
    use super::*;
    use holdfast_core::config::Secret;

    fn plain(value: &str) -> Secret {
        Secret::Plain(value.to_owned())
    }

    fn head(client: &Client) -> String {
        String::from_utf8(Request::new(client, 0).unwrap_or_else(|error| panic!("{error}")).head).unwrap()
    }

    fn error(client: &Client) -> String {
        Request::new(client, 0).err().unwrap()
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
        assert_eq!(Request::new(&client, 0).ok().unwrap().label, "ws://hub.example");
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
    fn the_subprotocol_is_offered_only_where_the_peer_acknowledges_envelopes() {
        let mut client = client("ws://hub.example/");
        assert!(!head(&client).contains(SUBPROTOCOL));
        client.framing = Framing::Envelope;
        assert!(!head(&client).contains(SUBPROTOCOL));
        client.confirm = Confirm::Ack;
        assert!(head(&client).contains("\r\nSec-WebSocket-Protocol: holdfast.v1\r\n"));
    }
}
