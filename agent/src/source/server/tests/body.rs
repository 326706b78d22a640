//! Bodies: coded, in other charsets, of several messages, and forms; and messages without a body.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use holdfast_core::config::method::Method;
use holdfast_core::config::parameter::{Parameter, ParameterType};

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bare(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The whole answer to a POST of any bytes.
async fn post(bench: &Bench, path: &str, headers: &str, body: &[u8]) -> String {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    let mut stream = bench.connect().await;
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

fn routes() -> Server {
    let number = |name: &str| Parameter {
        name: name.to_owned(),
        kind: ParameterType::Number,
        required: false,
        repeating: false,
    };
    let format = Some(Format::Json);
    let routes = vec![
        Route { batch: true, ..Route::of_path("/batch/{device}") },
        Route { format, query: vec![number("t")], ..Route::of_path("/form/{device}") },
        Route {
            methods: Some(vec![Method::Get]),
            query: vec![number("t")],
            ..Route::of_path("/shelly/{id}")
        },
        Route { format: Some(Format::Binary), ..Route::of_path("/raw") },
    ];
    Server { routes, ..config() }
}

#[test]
fn a_coded_body_is_stored_as_what_was_coded() {
    with(config(), async |bench| {
        let reading = br#"{"t":21.5}"#;
        let cases = [
            ("content-encoding: gzip\r\n", gzip(reading)),
            ("content-encoding: X-GZIP\r\n", [gzip(b"{\"t\":"), gzip(b"21.5}")].concat()),
            ("content-encoding: deflate\r\n", zlib(reading)),
            ("content-encoding: deflate\r\n", bare(reading)),
            ("content-encoding: identity\r\n", reading.to_vec()),
            ("content-encoding: deflate, gzip\r\n", gzip(&zlib(reading))),
            ("content-encoding: deflate\r\ncontent-encoding: gzip\r\n", gzip(&zlib(reading))),
        ];
        for (headers, body) in cases {
            assert_eq!(split(&post(&bench, "/a", headers, &body).await).0, 200, "{headers}");
            let draft = bench.draft().await;
            assert_eq!((draft.payload.as_slice(), draft.format), (&reading[..], Format::Json), "{headers}");
        }
        let lines = "content-encoding: gzip\r\ncontent-type: application/x-ndjson\r\n";
        let answer = split(&post(&bench, "/a", lines, &gzip(b"1\n2\n")).await);
        assert_eq!(answer, (200, r#"{"stored":[8,9]}"#.to_owned()));
    });
}

#[test]
fn a_coding_that_is_not_understood_is_named_with_those_that_are() {
    with(config(), async |bench| {
        for coding in ["br", "zstd", "gzip, br"] {
            let headers = format!("content-encoding: {coding}\r\n");
            let answer = post(&bench, "/a", &headers, &[0; 100_000]).await;
            let (status, error) = split(&answer);
            assert_eq!(status, 415);
            assert!(answer.contains("accept-encoding: gzip, deflate, identity\r\n"), "{answer}");
            assert!(error.contains("content coding `") && error.contains("gzip or deflate"), "{error}");
        }
        let broken = gzip(b"hello");
        let answer = split(&post(&bench, "/a", "content-encoding: gzip\r\n", &broken[..15]).await);
        assert_eq!(answer, (400, r#"{"error":"the body is not valid gzip: it ends too early"}"#.to_owned()));
        assert_eq!(split(&post(&bench, "/a", "content-encoding: gzip\r\n", b"{}").await).0, 400);
        assert!(bench.seen.is_empty());
    });
}

#[test]
fn what_a_few_bytes_become_has_the_limit_of_a_body() {
    with(config(), async |bench| {
        let headers = "content-encoding: gzip\r\n";
        for length in [1001, 1 << 20] {
            let answer = split(&post(&bench, "/a", headers, &gzip(&vec![b'x'; length])).await);
            let error = r#"{"error":"the decoded body is larger than 1000 bytes"}"#;
            assert_eq!(answer, (413, error.to_owned()));
        }
        let twice = "content-encoding: gzip, gzip\r\n";
        let bomb = gzip(&gzip(&vec![b'x'; 10 << 20]));
        assert_eq!(split(&post(&bench, "/a", twice, &bomb).await).0, 413);
        // Nothing makes random bytes smaller, and the largest message is taken all the same.
        let mut seed = 1_u32;
        let random: Vec<u8> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed.to_be_bytes()[0]
        })
        .take(1000)
        .collect();
        assert!(gzip(&random).len() > 1000);
        assert_eq!(split(&post(&bench, "/a", headers, &gzip(&random)).await).0, 200);
        assert_eq!(bench.draft().await.payload, random);
        assert!(bench.seen.is_empty());
    });
}

#[test]
fn a_text_is_stored_in_utf_8_and_a_charset_nobody_knows_is_refused() {
    with(config(), async |bench| {
        let cases: [(&str, &[u8], &str); 4] = [
            ("content-type: text/plain; charset=iso-8859-1\r\n", b"21 \xb0C", "21 °C"),
            ("content-type: application/json; charset=utf-16\r\n", b"\xff\xfe[\x001\0]\0", "[1]"),
            ("content-type: application/json\r\n", b"\xef\xbb\xbf[1]", "[1]"),
            ("", b"\xef\xbb\xbf[1]", "[1]"),
        ];
        for (headers, body, expected) in cases {
            assert_eq!(split(&post(&bench, "/a", headers, body).await).0, 200, "{headers}");
            assert_eq!(String::from_utf8(bench.draft().await.payload).unwrap(), expected, "{headers}");
        }
        let latin = "content-type: text/plain; charset=latin1\r\n";
        assert_eq!(split(&post(&bench, "/a", latin, &[0xe9; 501]).await).0, 413, "it is larger in UTF-8");
        let unknown = "content-type: text/plain; charset=klingon\r\n";
        let (status, error) = split(&post(&bench, "/a", unknown, b"x").await);
        assert!(status == 415 && error.contains("the charset `klingon`"), "{error}");
        assert!(bench.seen.is_empty());
    });
}

#[test]
fn parts_of_a_form_are_no_message() {
    with(routes(), async |bench| {
        let headers = "content-type: multipart/form-data; boundary=b\r\n";
        let body = b"--b\r\ncontent-disposition: form-data; name=\"t\"\r\n\r\n1\r\n--b--\r\n";
        for path in ["/a", "/raw", "/batch/x"] {
            let (status, error) = split(&post(&bench, path, headers, body).await);
            assert!(status == 415 && error.contains("multipart/form-data is not taken here"), "{error}");
        }
        assert!(bench.seen.is_empty());
    });
}

#[test]
fn an_array_is_a_batch_where_its_route_says_so() {
    with(routes(), async |bench| {
        let answer = bench.post("/batch/pump", r#" [{"a":[1,2]}, "x" ,3] "#).await;
        assert_eq!(answer, (200, r#"{"stored":[1,3]}"#.to_owned()));
        for expected in [r#"{"a":[1,2]}"#, r#""x""#, "3"] {
            let draft = bench.draft().await;
            assert_eq!((draft.payload.as_slice(), draft.format), (expected.as_bytes(), Format::Json));
            assert_eq!(draft.device.as_deref(), Some("pump"));
        }
        let many = format!("[{}]", vec!["\"0123456789\""; 1000].join(","));
        assert_eq!(bench.post("/batch/pump", &many).await, (200, r#"{"stored":[4,1003]}"#.to_owned()));
        for _ in 0..1000 {
            bench.draft().await;
        }
        assert_eq!(bench.post("/batch/pump", "{\"a\":1}").await, (200, r#"{"stored":1004}"#.to_owned()));
        bench.draft().await;
        for (body, status, error) in [
            ("[]", 400, "no message: the body has no element that is one"),
            (
                "[1,]",
                400,
                "element 2 of the body is not valid JSON: EOF while parsing a value at line 1 column 0",
            ),
            ("[1", 400, "element 1 of the body is not valid JSON: the array does not end"),
            ("[1] 2", 400, "element 1 of the body is not valid JSON: something follows the array"),
        ] {
            let expected = (status, serde_json::json!({ "error": error }).to_string());
            assert_eq!(bench.post("/batch/pump", body).await, expected, "{body}");
        }
        let long = format!("[1,\"{}\"]", "x".repeat(1000));
        assert_eq!(bench.post("/batch/pump", &long).await.0, 413);
        assert_eq!(bench.post("/batch/pump", &long[3..long.len() - 1]).await.0, 413, "one alone, too");
        assert!(bench.seen.is_empty());
        assert_eq!(bench.post("/other", "[1,2]").await, (200, r#"{"stored":1005}"#.to_owned()));
        assert_eq!(bench.draft().await.payload, b"[1,2]", "elsewhere an array is one message");
        let sequence = "content-type: application/json-seq\r\n";
        let answer = bench.ask("POST", "/other", sequence, "\u{1e}{\n}\n\u{1e}2\n").await;
        assert_eq!(answer, (200, r#"{"stored":[1006,1007]}"#.to_owned()));
    });
}

#[test]
fn a_form_is_an_object_where_its_route_wants_json_and_elsewhere_what_it_is() {
    with(routes(), async |bench| {
        let form = "content-type: application/x-www-form-urlencoded\r\n";
        let cases = [
            ("/form/a", "t=21.5&unit=%C2%B0C&n=a+b", r#"{"n":"a b","t":21.5,"unit":"°C"}"#),
            ("/form/a", r#"{"t":"a=b"}"#, r#"{"t":"a=b"}"#),
            ("/form/a", "21.5", "21.5"),
            ("/other", "t=21.5&n=1", "t=21.5&n=1"),
        ];
        for (path, body, expected) in cases {
            let answer = bench.ask("POST", path, form, body).await;
            assert_eq!(answer.0, 200, "{body}: {answer:?}");
            assert_eq!(String::from_utf8(bench.draft().await.payload).unwrap(), expected);
        }
        let told = r#"{"error":"the form field t is not a number","parameter":"t"}"#;
        assert_eq!(bench.ask("POST", "/form/a", form, "t=warm").await, (400, told.to_owned()));
        assert_eq!(bench.ask("POST", "/form/a", form, "{\"t\"=1").await.0, 400, "it is broken JSON");
        assert_eq!(bench.ask("POST", "/form/a", "", "x").await.0, 400);
        assert!(bench.seen.is_empty());
    });
}

#[test]
fn a_get_is_a_message_where_its_route_takes_one() {
    with(routes(), async |bench| {
        let device = "user-agent: Shelly/1.0\r\n";
        let answer = bench.ask("GET", "/shelly/ht?t=21.5&hum=40&device=x&confirm=1", device, "").await;
        assert_eq!(answer, (200, r#"{"stored":1}"#.to_owned()));
        let draft = bench.draft().await;
        assert_eq!((draft.topic.as_str(), draft.device.as_deref()), ("shelly/ht", Some("x")));
        let expected = br#"{"confirm":"1","device":"x","hum":"40","t":21.5}"#;
        assert_eq!((draft.payload.as_slice(), draft.format), (&expected[..], Format::Json));
        assert_eq!(draft.attributes, [("id".to_owned(), "ht".to_owned())]);
        let many: String = (0..40).map(|number| format!("p{number}=1&")).collect();
        assert_eq!(bench.ask("GET", &format!("/shelly/ht?{many}"), device, "").await.0, 200);
        bench.draft().await;
        assert_eq!(bench.ask("GET", "/shelly/button", device, "").await.0, 200);
        assert_eq!(bench.draft().await.payload, b"{}");
        let long = format!("/shelly/ht?x={}", "y".repeat(1000));
        for (method, path, headers, body, status) in [
            ("GET", "/shelly/ht?t=warm", device, "", 400),
            ("GET", "/shelly/ht?t=1", device, "data", 400),
            ("GET", "/shelly/ht?t=1", "origin: https://evil.example\r\nuser-agent: Mozilla/5.0\r\n", "", 403),
            ("GET", &long, device, "", 413),
            ("GET", "/form/a?t=1", device, "", 405),
        ] {
            assert_eq!(bench.ask(method, path, headers, body).await.0, status, "{method} {path} {headers}");
        }
        assert!(bench.seen.is_empty());
        bench.web_socket("/shelly/ht").await;
    });
}

/// Header fields of each with an image, beside `Host`; the first two to a server of the LAN, where they send no `Sec-Fetch-…`.
const BROWSERS: [&str; 5] = [
    "Connection: keep-alive\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0.0.0 \
     Safari/537.36\r\nAccept: image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8\r\nReferer: http://evil.example/\r\n\
     Accept-Encoding: gzip, deflate\r\nAccept-Language: en-US,en;q=0.9\r\n",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: image/avif,image/webp,image/png,\
     image/svg+xml,image/*;q=0.8,*/*;q=0.5\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate\r\n\
     Connection: keep-alive\r\nReferer: http://x:3000/page\r\nPriority: u=4, i\r\n",
    "sec-ch-ua: \"Chromium\";v=\"148\"\r\nsec-ch-ua-mobile: ?0\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
     Sec-Fetch-ServerState: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n",
    "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)\r\n\
     Accept: */*\r\nAccept-Language: de-DE,de;q=0.9\r\n",
    "User-Agent: Mozilla/5.0 (Linux; Android 14)\r\nX-Requested-With: com.example.app\r\n",
];
/// The same of those that are none.
const DEVICES: [&str; 7] = [
    "",
    "User-Agent: curl/8.14.1\r\nAccept: */*\r\n",
    "User-Agent: Shelly/20230913-112234/v1.14.0-gcb84623 (SHHT-1)\r\nConnection: close\r\n",
    "Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n",
    "User-Agent: Tasmota/13.4.0 (ESP8266)\r\nConnection: keep-alive\r\nAccept-Encoding: identity;q=1,chunked;q=0.1,*;q=0\r\n",
    "User-Agent: ESP8266HTTPClient\r\nAccept-Encoding: identity;q=1,chunked;q=0.1,*;q=0\r\nConnection: close\r\n",
    "Origin: file://\r\nUser-Agent: ESP32HTTPClient\r\n",
];

#[test]
fn a_get_that_is_a_message_comes_from_devices_and_from_no_foreign_page() {
    let mut server = routes();
    server.access.hostnames.push("gw.test".to_owned());
    with(server, async |bench| {
        for device in DEVICES {
            assert_eq!(bench.ask("GET", "/shelly/ht?t=1", device, "").await.0, 200, "{device}");
            bench.draft().await;
        }
        for browser in BROWSERS {
            let (status, error) = bench.ask("GET", "/shelly/ht?t=1", browser, "").await;
            assert_eq!(status, 403, "{browser}");
            for words in [
                r#"the route path = \"/shelly/{id}\""#,
                "`methods` of the route must name",
                "x-requested-with: 1",
            ] {
                assert!(error.contains(words), "{error}");
            }
            let page =
                browser.contains("evil").then_some(r#"origins = [\"http://evil.example\"] lets its page in"#);
            assert!(error.contains(page.unwrap_or("origins")), "{error}");
        }
        for welcome in [
            "user-agent: Mozilla/5.0\r\nreferer: http://x/panel.html\r\n",
            "user-agent: Mozilla/5.0\r\nreferer: http://gw.test/\r\n",
            "user-agent: Mozilla/5.0\r\nreferer: https://good.example/\r\nsec-fetch-site: cross-site\r\n",
            "user-agent: Mozilla/5.0\r\norigin: https://good.example\r\nsec-fetch-site: cross-site\r\n",
            "user-agent: Mozilla/5.0\r\nsec-fetch-site: same-origin\r\n",
            "user-agent: Mozilla/5.0\r\nx-requested-with: fetch\r\n",
        ] {
            assert_eq!(bench.ask("GET", "/shelly/ht?t=1", welcome, "").await.0, 200, "{welcome}");
            bench.draft().await;
        }
        assert!(bench.seen.is_empty());
    });
    let mut server = routes();
    server.access.origins = vec!["*".to_owned()];
    with(server, async |bench| {
        for browser in BROWSERS {
            assert_eq!(bench.ask("GET", "/shelly/ht?t=1", browser, "").await.0, 200, "{browser}");
        }
    });
}

#[test]
fn another_method_is_told_those_that_are_taken() {
    with(routes(), async |bench| {
        let cases = [
            ("HEAD", "/shelly/ht", "GET, OPTIONS"),
            ("POST", "/shelly/ht", "GET, OPTIONS"),
            ("GET", "/a", "POST, PUT, OPTIONS"),
            ("DELETE", "/a", "POST, PUT, OPTIONS"),
            ("PATCH", "/", "GET, HEAD, POST, PUT, OPTIONS"),
        ];
        for (method, path, allowed) in cases {
            let answer = bench.raw(&request(method, path, "", "data")).await;
            let (status, error) = split(&answer);
            assert_eq!(status, 405, "{answer}");
            assert!(answer.contains(&format!("allow: {allowed}\r\n")), "{answer}");
            let words =
                format!("{method} is not allowed here, only {allowed}; `methods` of a [[server.route]]");
            assert!(method == "HEAD" || error.contains(&words), "{error}");
        }
        assert!(bench.seen.is_empty());
    });
}
