//! Requests that cannot be read, and what is no request at all.

use holdfast_core::config::reply::{Mode, Reply};

use super::*;

/// Answer, to its end, as status and body.
async fn told(bench: &Bench, bytes: &[u8]) -> (u16, String) {
    let mut stream = bench.connect().await;
    stream.write_all(bytes).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer.matches("connection: close\r\n").count(), 1, "{answer}");
    let (status, body) = split(&answer);
    assert!(answer.contains(&format!("content-length: {}\r\n", body.len())), "{answer}");
    (status, body)
}

#[test]
fn a_request_that_cannot_be_read_is_told_why() {
    let bytes = |text: &str| text.as_bytes().to_vec();
    let long = "x".repeat(17_000);
    let many: String = (0..101).map(|number| format!("h{number}: 1\r\n")).collect();
    let cases = [
        (bytes("POST /a b HTTP/1.1\r\nhost: x\r\n\r\n"), 400, "version in `POST /a b HTTP/1.1`"),
        (bytes("GET\r\n\r\n"), 400, "in `GET`"),
        (bytes("{\"t\":21.5}\n"), 400, "method in `{\\\"t\\\":21.5}`"),
        (bytes("GET / HTTP/3.0\r\nhost: x\r\n\r\n"), 400, "HTTP version"),
        (bytes("GET / HTTP/1.1\r\nno colon\r\n\r\n"), 400, "header in `no colon`"),
        (bytes("GET / HTTP/1.1\r\nhost: x\r\na b: c\r\n\r\n"), 400, "header in `a b: c`"),
        (bytes("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1x\r\n\r\n"), 400, "content-length"),
        (bytes("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n"), 400, "transfer-encoding"),
        (bytes(&format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n")), 414, "longer than 16384 bytes"),
        (bytes(&format!("GET / HTTP/1.1\r\ncookie: {long}\r\n\r\n")), 431, "larger than 16384 bytes"),
        (bytes(&format!("GET / HTTP/1.1\r\n{many}\r\n")), 431, "more than 100 headers"),
        (bytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505, "--http1.1"),
        (b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04abcd".to_vec(), 400, "was sent MQTT"),
        (
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec(),
            400,
            "plain HTTP and was sent a TLS handshake",
        ),
        (bytes("GET / HTTP/1.1\r\nhost: x\r\n"), 408, "limits.handshake_timeout of [[server]] sensors"),
    ];
    with(config(), async |bench| {
        for (request, status, words) in cases {
            let (found, body) = told(&bench, &request).await;
            let shown = String::from_utf8_lossy(&request[..request.len().min(60)]).into_owned();
            assert_eq!(found, status, "{shown}: {body}");
            assert!(body.starts_with("{\"error\":\"") && body.contains(words), "{shown}: {body}");
        }
        let mut stream = bench.connect().await;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n").await.unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let (status, body) = split(&talk(stream, "").await);
        assert!(status == 400 && body.contains("ended within its head"), "{body}");
        assert_eq!(bench.raw("").await, "", "who asks for nothing is told nothing");
        assert!(bench.seen.is_empty());
    });
}

#[test]
fn what_follows_a_good_request_is_told_too_and_the_first_answer_stays() {
    with(config(), async |bench| {
        let first = "POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n1";
        let answers = bench.raw(&format!("{first}21.5\r\n\r\n")).await;
        let (stored, refused) = answers.split_once("{\"stored\":1}").unwrap();
        assert!(stored.starts_with("HTTP/1.1 200 OK\r\n"), "{answers}");
        assert!(refused.starts_with("HTTP/1.1 400 ") && refused.contains("in `21.5`"), "{answers}");
    });
}

#[test]
fn an_answer_of_a_route_that_looks_like_a_refusal_arrives_as_it_is() {
    let bare = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let mut server = config();
    let reply = Some(Reply::Text(bare.to_owned()));
    server.routes = vec![Route { mode: Mode::Connection, reply, ..Route::of_path("/ask") }];
    with(server, async |bench| {
        assert_eq!(bench.post("/ask", "").await, (200, bare.to_owned()));
    });
}

#[test]
fn plain_http_on_the_port_of_tls_is_told_so_and_anything_else_is_not() {
    let authority = Authority::new();
    let files = authority.issue("localhost", |_| {});
    let mut server = config();
    server.tls = Some(ServerTls { cert: files.cert, key: files.key, client_ca: None });
    with(server, async |bench| {
        let (status, body) = told(&bench, request("POST", "/a", "", "1").as_bytes()).await;
        assert_eq!(status, 400);
        let words = "this port speaks TLS and was sent plain HTTP: use https:// or wss://";
        assert!(body.contains(words) && body.contains("[[server]] sensors"), "{body}");
        let mut stream = bench.connect().await;
        stream.write_all(b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04abcd").await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
        assert!(bench.seen.is_empty());
    });
}
