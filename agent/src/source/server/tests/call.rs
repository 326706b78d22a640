//! Routes in connection mode.

use holdfast_core::config::parameter::{Parameter, ParameterType};
use holdfast_core::config::reply::{Mode, Reply};

use super::*;

fn route(path: &str, reply: Option<Reply>) -> Route {
    let name = "n".to_owned();
    let kind = ParameterType::Number;
    let query = vec![Parameter { name, kind, required: false, repeating: false }];
    Route { mode: Mode::Connection, reply, query, ..Route::of_path(path) }
}

fn server(reply: Option<Reply>) -> Server {
    Server { routes: vec![route("/ask/{device}", reply)], ..config() }
}

#[test]
fn the_parameters_are_the_message_and_its_id_is_the_reply() {
    with(server(None), async |bench| {
        let answer =
            bench.raw("GET /ask/pump?n=1&x=2 HTTP/1.1\r\nhost: x\r\nuser-agent: curl/8.5.0\r\n\r\n").await;
        assert!(answer.contains("connection: close\r\n") && answer.ends_with(r#"{"stored":1}"#), "{answer}");
        let draft = bench.draft().await;
        assert_eq!((draft.topic.as_str(), draft.device.as_deref()), ("ask/pump", Some("pump")));
        assert_eq!(draft.payload, br#"{"device":"pump","n":1,"x":"2"}"#);
        assert_eq!(draft.format, Format::Json);
        let pairs = ["device=pump", "n=1", "x=2"];
        let found: Vec<_> = draft.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(found, pairs);
        assert_eq!(bench.post("/ask/pump", "").await, (200, r#"{"stored":2}"#.to_owned()));
        bench.draft().await;
        for (method, path, body, status) in [
            ("POST", "/ask/pump", "data", 400),
            ("PUT", "/ask/pump?n=x", "", 400),
            ("HEAD", "/ask/pump", "", 405),
        ] {
            assert_eq!(bench.ask(method, path, "", body).await.0, status, "{method} {path}");
        }
        assert!(bench.seen.is_empty());
    });
}

#[test]
fn an_image_or_a_link_on_any_page_changes_nothing() {
    with(server(None), async |bench| {
        let chromium = "user-agent: Mozilla/5.0 (X11; Linux aarch64)\r\naccept-language: de\r\n";
        for more in ["", "sec-fetch-site: cross-site\r\n", "sec-fetch-site: none\r\n"] {
            let (status, body) =
                bench.ask("GET", "/ask/pump", &format!("{chromium}{more}accept: image/*\r\n"), "").await;
            assert!(
                status == 403 && body.contains("use POST, or send the header x-requested-with"),
                "{body}"
            );
        }
        assert_eq!(bench.ask("GET", "/ask/pump", "", "").await.0, 403, "nothing is no permission");
        assert!(bench.seen.is_empty());
        for allowed in ["x-requested-with: fetch\r\n", "origin: https://good.example\r\n"] {
            assert_eq!(bench.ask("GET", "/ask/pump", &format!("{chromium}{allowed}"), "").await.0, 200);
            bench.draft().await;
        }
    });
}

#[test]
fn a_web_socket_gets_one_frame_and_is_closed() {
    with(server(Some(Reply::Text("hello".to_owned()))), async |bench| {
        let mut socket = bench.web_socket("/ask/pump").await;
        assert_eq!(farewell(&mut socket).await, (1000, String::new(), vec!["hello".to_owned()]));
        bench.draft().await;
        bench.refuse(&[Refused::Full]);
        let mut socket = bench.web_socket("/ask/pump").await;
        let error = r#"{"error":"the buffer is full"}"#.to_owned();
        assert_eq!(farewell(&mut socket).await, (1013, String::new(), vec![error]));
    });
}

#[test]
fn the_reply_may_be_the_last_message_of_a_topic() {
    with(server(Some(Reply::Last("{device}/t".to_owned()))), async |bench| {
        let mut socket = bench.web_socket("/ask/kitchen").await;
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::binary(vec![0, 255]));
        assert_eq!(farewell(&mut socket).await.0, 1000);
        let silent = r#"{"error":"nothing was heard of cellar/t since the agent started"}"#.to_owned();
        assert_eq!(
            bench.ask("GET", "/ask/cellar", "x-requested-with: fetch\r\n", "").await,
            (404, silent.clone())
        );
        let mut socket = bench.web_socket("/ask/cellar").await;
        assert_eq!(farewell(&mut socket).await, (1000, String::new(), vec![silent]));
    });
}

#[test]
fn a_file_is_read_each_time_and_must_be_there_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recipe.json");
    let server = server(Some(Reply::File(file.clone())));
    let missing = smol::block_on(bind(&server, &[])).err().unwrap();
    let expected = format!(
        "cannot read {}: no such file or directory (the reply of the route /ask/{{device}}) (server sensors)",
        file.display()
    );
    assert_eq!(missing, expected);
    std::fs::write(&file, vec![b'x'; (1 << 20) + 1]).unwrap();
    assert!(smol::block_on(bind(&server, &[])).err().unwrap().contains("it is larger than 1048576 bytes"));
    std::fs::write(&file, "{}").unwrap();
    with(server, async |bench| {
        let answer = bench.raw(&request("GET", "/ask/a", "x-requested-with: fetch\r\n", "")).await;
        assert!(
            answer.contains("content-type: application/json\r\n") && answer.ends_with("\r\n{}"),
            "{answer}"
        );
        let large = "y".repeat(1 << 20);
        std::fs::write(&file, &large).unwrap();
        let mut socket = bench.web_socket("/ask/a").await;
        assert_eq!(farewell(&mut socket).await, (1000, String::new(), vec![large]));
    });
}
